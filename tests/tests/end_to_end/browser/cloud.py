"""The local cloud as people's steps see it: who and where, and what happens outside of the console.

Wishes go out on standard output, a line of JSON each, and their answers come in.
"""

import json
import os
import re
import sys

from playwright.sync_api import expect

CONSOLE, TENANT = os.environ["CONSOLE"], os.environ["TENANT"]
ROOT = f"{CONSOLE}/tenants/{TENANT}"
ADMINISTRATOR, READER, STRANGER = "demonstration-administrator", "demonstration-reader", "stranger"
REGION = "eu-central-1"


def wish(what, **how):
    """Asks for something to happen outside of the console."""
    print(json.dumps({"wish": what} | how), flush=True)
    return json.loads(sys.stdin.readline())


def iam(account, action, **parameters):
    """Calls IAM as an account's administrator."""
    return wish("iam", account=account, parameters={"Action": action} | parameters)["answer"]


def heartbeat_until_taken(page, account, hours_ago=0, **detail):
    """Lets a stack send heartbeats, with other details than its own, until one is taken."""
    for _ in range(60):
        if wish("heartbeat", account=account, detail=detail, hours_ago=hours_ago)["status"] == 202:
            return
        page.wait_for_timeout(1000)
    raise AssertionError("no heartbeat was taken")


def launch_the_classic_way(page, name, account, typed=lambda link: link):
    """Types what the classic way has people type, up to the stack; returns its role."""
    page.goto(f"{ROOT}/integrations/new?way=classic")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(REGION).check(force=True)
    password = page.get_by_label("Password", exact=True).input_value()
    page.get_by_role("button", name="Go on").click()
    link = page.get_by_role("link", name="Launch Stack").get_attribute("href")
    return wish("launch", link=typed(link), account=account, username="portwarden", password=password)["role"]


def connect_the_classic_way(page, name, account):
    """Goes the classic way until everything but the event path is proven; returns the role."""
    role = launch_the_classic_way(page, name, account)
    region(page).get_by_label("Trusted Role ARN").fill(role)
    region(page).get_by_role("button", name="Save").click()
    expect(region(page).locator(".step.good")).to_have_count(5)
    return role


def region(page):
    return page.locator(f"#region-{REGION}")


def integration_of(page):
    return re.search(r"integrations/(i-[0-9a-z]{26})", page.url).group(1)
