"""Whatever can be wrong with a connection in the local cloud, on its page: it is told there with its fix, and tested again."""

import json
import os
import re
import shlex
import urllib.parse

from playwright.sync_api import expect

import verdicts
from cloud import (
    ADMINISTRATOR, REGION, ROOT, connect_the_classic_way, heartbeat_until_taken, iam, launch_the_classic_way, region, wish,
)

CONNECTOR, CANARY = os.environ["CONNECTOR"], os.environ["CANARY"]
OPERATOR, TYPED, BROKEN, WRONG = CONNECTOR.split(":")[4], "888899990000", "777788889999", "999900001111"
MISTYPED = "222233334444"
NOBODY = f"arn:aws:iam::{WRONG}:role/nobody"
NEEDED = [
    "iam:GetRole", "ecr:GetAuthorizationToken", "ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:ListImages",
    "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability",
]
SECRET = "secretsmanager:GetSecretValue"

SENTENCES = verdicts.sentences()
seen = set()


def problem_of(page, code):
    this = page.locator("code.code", has_text=re.compile(f"^{code}$"))
    return region(page).locator(".problem").filter(has=this)


def told(page, code):
    """Waits until the card of the region tells what is wrong, copies the fix, and returns it."""
    problem = problem_of(page, code)
    expect(problem).to_have_count(1)
    expect(problem).to_contain_text("Fix: ")
    expect(region(page).get_by_text("watched", exact=True)).to_have_count(0)
    expect(region(page).get_by_role("button", name="Test again").first).to_be_visible()
    problem.get_by_role("button", name="Copy the fix").click()
    expect(problem.get_by_role("button", name="Copied")).to_be_visible()
    fix = page.evaluate("navigator.clipboard.readText()")
    # The sentence is that of the table, up to the names in it.
    beginning = SENTENCES[code][0].split()[:4]
    expect(problem).to_contain_text(" ".join(beginning))
    seen.add(code)
    return fix


def test_again(page):
    region(page).get_by_role("button", name="Test again").first.click()


def is_green(page):
    expect(region(page).get_by_text("watched", exact=True)).to_be_visible()
    expect(region(page).locator(".problem")).to_have_count(0)


def stack_says(page, seen_then, **detail):
    """Lets the stack say something new, which is tested by itself, and waits until the page shows what follows."""
    heartbeat_until_taken(page, BROKEN, **detail)
    shown_at_last(page, seen_then)


def shown_at_last(page, what):
    """Loads the page until it shows something that nobody at the page has asked for."""
    for _ in range(60):
        page.reload()
        if what.count():
            return
        page.wait_for_timeout(1000)
    raise AssertionError(f"{what} was never shown")


def follow(fix, account):
    """Does in an account what a fix says with the AWS command line."""
    words = shlex.split(fix[fix.index("aws iam "):])
    action = {"update-assume-role-policy": "UpdateAssumeRolePolicy", "put-role-policy": "PutRolePolicy"}[words[2]]
    names = {"--role-name": "RoleName", "--policy-name": "PolicyName", "--policy-document": "PolicyDocument"}
    iam(account, action, **{names[name]: value for name, value in zip(words[3::2], words[4::2])})


def name_of(role):
    return role.split("/")[-1]


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | statement]})


def trust(account, role, external_ids, operator="StringEquals", also=()):
    """Lets a role trust our connector under a condition, and perhaps others."""
    condition = {"Condition": {operator: {"sts:ExternalId": external_ids}}} if external_ids else {}
    document = policy(Principal={"AWS": [CONNECTOR, *also]}, Action="sts:AssumeRole", **condition)
    iam(account, "UpdateAssumeRolePolicy", RoleName=name_of(role), PolicyDocument=document)


def allow(role, actions):
    document = policy(Action=actions, Resource="*")
    iam(BROKEN, "PutRolePolicy", RoleName=name_of(role), PolicyName="read-registry", PolicyDocument=document)


def new_integration(page, name):
    """Makes an integration, and returns where its page is and its launch link."""
    page.goto(f"{ROOT}/integrations/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(REGION).check(force=True)
    page.get_by_role("button", name="Go on").click()
    link = page.get_by_role("link", name="Launch Stack").get_attribute("href")
    return page.url, link


def external_id_of(link):
    return re.search(r"param_ExternalId=(pw-[0-9a-z]+)", link).group(1)


def name_role(page, role):
    field = region(page).get_by_label("Trusted Role ARN")
    if not field.is_visible():
        region(page).get_by_text("Name the role yourself").click()
    field.fill(role)
    region(page).get_by_role("button", name="Save").click()


def a_role_that_cannot_be_the_right_one_is_refused(browser, place):
    page = browser.person(ADMINISTRATOR)
    page.goto(place)
    for role, code in [
        (f"arn:aws-cn:iam::{WRONG}:role/nobody", "role_partition"), (CONNECTOR, "role_in_our_account"), (NOBODY, "role_not_assumable"),
    ]:
        name_role(page, role)
        told(page, code)


def a_stack_that_is_not_right_is_told_and_mended(browser, place, link):
    """Of the stack's password, its heartbeats and its template; returns its role."""
    page = browser.person(ADMINISTRATOR)
    page.goto(place)
    role = wish("launch", link=link, account=BROKEN)["role"]
    allow(role, NEEDED)
    assert wish("heartbeat", account=BROKEN)["status"] == 429, "it is a claim"
    page.get_by_role("button", name=f"Confirm account {BROKEN}").click()
    told(page, "secret_denied")
    allow(role, [*NEEDED, SECRET])
    before = wish("secret", account=BROKEN, value='{"username": "portwarden"}')["before"]
    test_again(page)
    told(page, "secret_malformed")
    wish("secret", account=BROKEN, value=before)
    test_again(page)
    expect(region(page).locator(".step.good")).to_have_count(5)
    # That the first heartbeat is still to come is no failure, so it stands among the probes only.
    expect(region(page).locator(".probes")).to_contain_text(f"no event has come from {REGION} yet")
    expect(region(page)).to_contain_text("being connected")
    seen.add("event_path_unproven")
    heartbeat_until_taken(page, BROKEN, hours_ago=3)
    test_again(page)
    told(page, "event_path_silent")
    stack_says(page, problem_of(page, "template_outdated"), **{"template-version": "0"})
    told(page, "template_outdated")
    elsewhere = f"arn:aws:secretsmanager:{REGION}:{WRONG}:secret:s-a1b2c3"
    stack_says(page, problem_of(page, "secret_elsewhere"), **{"secret-arn": elsewhere, "credential-generation": 2})
    told(page, "secret_elsewhere")
    # What the receiver knows a stack to say is no news, so it says a little more.
    stack_says(page, region(page).get_by_text("watched", exact=True), **{"rate-minutes": 16})
    test_again(page)
    is_green(page)
    return role


def each_missing_right_is_told_and_its_fix_mends_it(browser, place, role):
    page = browser.person(ADMINISTRATOR)
    page.goto(place)
    for missing in NEEDED:
        allow(role, [action for action in NEEDED if action != missing])
        test_again(page)
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", missing.split(":")[1]).lower()
        code = "trust_policy_denied" if missing == "iam:GetRole" else f"ecr_{words}_denied"
        follow(told(page, code), BROKEN)
    test_again(page)
    is_green(page)


def each_trust_that_is_too_wide_is_told_and_its_fix_mends_it(browser, place, role, external_id):
    page = browser.person(ADMINISTRATOR)
    page.goto(place)
    for code, ids, operator, also in [
        ("trust_without_external_id", None, "", []), ("trust_with_other_external_id", "pw-*", "StringLike", []),
        ("trust_condition_wide", external_id, "StringLike", []), ("trust_names_others", external_id, "StringEquals", [role]),
        ("trust_principal_wide", external_id, "StringEquals", [f"arn:aws:iam::{BROKEN}:root"]),
        ("trust_names_other_external_ids", [external_id, "pw-" + "0" * 26], "StringEquals", []),
        ("role_not_assumable", "pw-" + "0" * 26, "StringEquals", []),
    ]:
        trust(BROKEN, role, ids, operator, also)
        test_again(page)
        fix = told(page, code)
    follow(fix, BROKEN)
    test_again(page)
    is_green(page)


def a_closed_canary_is_told(browser, place):
    page = browser.person(ADMINISTRATOR)
    page.goto(place)
    kept = iam(OPERATOR, "GetRole", RoleName=name_of(CANARY))
    kept = re.search("<AssumeRolePolicyDocument>(.*?)</AssumeRolePolicyDocument>", kept, re.DOTALL).group(1)
    nobody = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    nobody = json.dumps({"Version": "2012-10-17", "Statement": [nobody]})
    iam(OPERATOR, "UpdateAssumeRolePolicy", RoleName=name_of(CANARY), PolicyDocument=nobody)
    test_again(page)
    told(page, "canary_refused")
    iam(OPERATOR, "UpdateAssumeRolePolicy", RoleName=name_of(CANARY), PolicyDocument=urllib.parse.unquote(kept))
    test_again(page)
    is_green(page)


def a_role_has_one_owner(browser, place, role, link, external_id):
    """Another integration names a role that is taken, and a stack of its own that AWS does not know yet."""
    page = browser.person(ADMINISTRATOR)
    page.goto(place)
    trust(BROKEN, role, external_id_of(link))
    name_role(page, role)
    told(page, "role_taken")
    trust(BROKEN, role, external_id)
    wish("launch", link=link, account=WRONG)
    wish("heartbeat", account=WRONG, detail={"role-arn": f"arn:aws:iam::{WRONG}:role/not-there-yet"})
    told(page, "role_not_propagated")


def credentials_and_roles_of_others_are_told(browser):
    """By the classic way, in which people type them."""
    page = browser.person(ADMINISTRATOR)
    role = connect_the_classic_way(page, "typed", TYPED)
    # A stack that has fallen silent may have got another password.
    # How often it should be heard of is known once its first message is looked at.
    heartbeat_until_taken(page, TYPED, hours_ago=3)
    for _ in range(20):
        test_again(page)
        page.wait_for_timeout(3000)
        if problem_of(page, "event_path_silent").count():
            break
    told(page, "event_path_silent")
    for _ in range(60):
        status = wish("heartbeat", account=TYPED, password="another-password-of-their-own")["status"]
        assert status == 429, status
        page.reload()
        if problem_of(page, "credentials_wrong").count():
            break
        page.wait_for_timeout(1000)
    told(page, "credentials_wrong")
    heartbeat_until_taken(page, TYPED)
    test_again(page)
    is_green(page)
    name_role(page, NOBODY)
    told(page, "role_of_other_account")
    name_role(page, role)
    is_green(page)


def a_mistyped_external_id_is_told_and_mended(browser):
    """The stack of the role that a person names was given another ExternalId than theirs, and says so."""
    page = browser.person(ADMINISTRATOR)
    other = "pw-" + "0" * 26
    role = launch_the_classic_way(page, "mistyped", MISTYPED, lambda link: link.replace(external_id_of(link), other))
    name_role(page, role)
    told(page, "role_not_assumable")
    assert wish("heartbeat", account=MISTYPED)["status"] == 429, "nothing of it is proven"
    shown_at_last(page, problem_of(page, "role_other_external_id"))
    expect(problem_of(page, "role_other_external_id")).to_contain_text(other)
    right = re.search("pw-[0-9a-z]{26}", told(page, "role_other_external_id")).group()
    # The stack is updated as the fix says: its role trusts the right one, and its messages name it.
    trust(MISTYPED, role, right)
    name_role(page, role)
    expect(region(page).locator(".step.good")).to_have_count(5)
    heartbeat_until_taken(page, MISTYPED, **{"external-id": right})
    test_again(page)
    is_green(page)


def run_all(run):
    def two(browser):
        page = browser.person(ADMINISTRATOR)
        return new_integration(page, "broken"), new_integration(page, "wrong")

    two.__name__ = "two integrations are made"
    (broken, broken_link), (wrong, wrong_link) = run(two)
    external_id = external_id_of(broken_link)
    run(a_role_that_cannot_be_the_right_one_is_refused, broken)
    role = run(a_stack_that_is_not_right_is_told_and_mended, broken, broken_link)
    run(each_missing_right_is_told_and_its_fix_mends_it, broken, role)
    run(each_trust_that_is_too_wide_is_told_and_its_fix_mends_it, broken, role, external_id)
    run(a_closed_canary_is_told, broken)
    run(a_role_has_one_owner, wrong, role, wrong_link, external_id)
    run(credentials_and_roles_of_others_are_told)
    run(a_mistyped_external_id_is_told_and_mended)
    assert seen == verdicts.IN_THE_CLOUD, f"not seen: {sorted(verdicts.IN_THE_CLOUD - seen)}"
