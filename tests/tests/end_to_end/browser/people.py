"""People use the console of the local cloud."""

import os
import re
import sys
import traceback

from playwright.sync_api import expect, sync_playwright

import failures
from cloud import (
    ADMINISTRATOR, CONSOLE, READER, REGION, ROOT, STRANGER, TENANT, connect_the_classic_way, heartbeat_until_taken, integration_of,
    region, wish,
)
from driver import Browser, audit, is_the_same_page, mark, tab_to

ISSUER, WALK_THROUGH = os.environ["ISSUER"], os.environ["WALK_THROUGH"]
OTHER, OTHER_INTEGRATION = os.environ["OTHER_TENANT"], os.environ["OTHER_INTEGRATION"]

# A function's first start, a scan and a test of a role on a busy machine.
expect.set_options(timeout=60_000)


def connects_the_quick_way_with_the_keyboard_alone(browser):
    page = browser.person(ADMINISTRATOR)
    page.goto(f"{ROOT}/integrations/new")
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type("quick")
    tab_to(page, page.get_by_label(REGION))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Go on"))
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Launch Stack").get_attribute("href")
    mark(page)
    wish("launch", link=link, account="555566667777")
    # It is not known yet, and what it says is a claim.
    assert wish("heartbeat", account="555566667777")["status"] == 429
    expect(page.get_by_text("Is AWS account 555566667777 yours?")).to_be_visible()
    assert is_the_same_page(page), "the page was loaded again"
    tab_to(page, page.get_by_role("button", name="Confirm account 555566667777"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Account 555566667777 is confirmed")).to_be_visible()
    expect(region(page).locator(".step.good")).to_have_count(5)
    mark(page)
    heartbeat_until_taken(page, "555566667777")
    expect(region(page).get_by_text("watched", exact=True)).to_be_visible()
    assert is_the_same_page(page), "the page was loaded again"
    return integration_of(page)


def connects_the_classic_way(browser):
    page = browser.person(ADMINISTRATOR)
    connect_the_classic_way(page, "classic", "666677778888")
    heartbeat_until_taken(page, "666677778888")
    expect(region(page).get_by_text("watched", exact=True)).to_be_visible()
    page.get_by_text("The sessions").click()
    expect(page.locator("#sessions-list")).to_contain_text("verify-")


def a_push_and_its_report_appear_without_reload(browser):
    page = browser.person(ADMINISTRATOR)
    page.goto(f"{ROOT}/images")
    mark(page)
    digest = wish("push", repository="shop/web", tag="1.4")["digest"]
    expect(page.get_by_role("link", name="shop/web")).to_be_visible()
    expect(page.get_by_text(re.compile(r"\d+ packages"))).to_be_visible()
    assert is_the_same_page(page), "the page was loaded again"
    page.get_by_role("link", name="shop/web").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop/web:1.4")
    page.get_by_role("link", name="Packages").click()
    for name in ["Report HTML", "SBOM CycloneDX JSON", "SBOM SPDX JSON"]:
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        assert download.value.failure() is None, name
    return digest


def it_is_found_by_package_and_digest(browser, digest):
    page = browser.person(ADMINISTRATOR)
    page.goto(ROOT)
    page.get_by_role("searchbox").fill("openssl")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main").get_by_role("link", name="shop/web").first).to_be_visible()
    page.get_by_role("searchbox").fill(digest)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("shop/web:1.4")


def the_walk_throughs_link_signs_in(browser):
    page = browser.person()
    page.goto(WALK_THROUGH)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Sign in to the console").click()
    console = opened.value
    expect(console.get_by_role("button", name="Sign out")).to_be_visible()
    console.goto(f"{ROOT}/integrations")
    expect(console.get_by_role("link", name="Connect an account").first).to_be_visible()


def the_walk_throughs_button_pushes_another_image(browser):
    page = browser.person(ADMINISTRATOR)
    page.goto(WALK_THROUGH)
    audit(page, "walk-through")
    tab_to(page, page.get_by_role("button", name="Push another image"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("walk-0")).to_be_visible()
    # The console that is deployed pushes nothing.
    assert page.goto(f"{CONSOLE}/push").status == 404


def a_webhook_is_sent_a_test_by_the_notifier(browser):
    page = browser.person(ADMINISTRATOR)
    page.goto(f"{ROOT}/notifications")
    page.get_by_label("Name", exact=True).fill("inside")
    page.get_by_label("Address", exact=True).fill("https://10.0.0.1/")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("alert")).to_contain_text("webhook_url_invalid")
    page.get_by_label("Name", exact=True).fill("chat")
    page.get_by_label("Address", exact=True).fill(wish("hook")["url"])
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("whsec_")).to_be_visible()
    mark(page)
    page.get_by_role("button", name="Send a test").click()
    row = page.get_by_role("row", name="ping")
    expect(row).to_contain_text("answered 500")
    row.get_by_role("button", name="Send again").click()
    expect(row).to_contain_text("answered 204")


def an_operator_sees_queues_and_tenants(browser):
    page = browser.person(ADMINISTRATOR)
    page.goto(f"{CONSOLE}/operations")
    for queue in ["scan", "verify", "rematch", "inventory"]:
        expect(page.get_by_role("row", name=re.compile(f"^{queue}"))).to_contain_text("none")
    expect(page.get_by_text("half within")).to_be_visible()


def a_reader_cannot_write(browser, integration):
    page = browser.person(READER)
    page.goto(f"{ROOT}/integrations/{integration}")
    expect(region(page)).to_contain_text("watched")
    expect(page.get_by_role("button", name="Test again")).to_have_count(0)
    page.goto(f"{ROOT}/notifications")
    expect(page.get_by_role("button", name="Add it")).to_have_count(0)
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    for path in [f"integrations/{integration}/remove", f"integrations/{integration}/rotate", "notifications"]:
        status = page.evaluate(
            """async ([path, body]) => (await fetch(path, {method: "POST", body, redirect: "manual",
                headers: {"Content-Type": "application/x-www-form-urlencoded"}})).status""",
            [f"/tenants/{TENANT}/{path}", f"csrf={csrf}&region={REGION}&name=x&url=https://hooks.example.com/"],
        )
        assert status == 403, (path, status)


def another_tenants_addresses_are_not_found(browser, integration, digest):
    page = browser.person(STRANGER)
    for path in ["", "/integrations", f"/integrations/{integration}", f"/images/{digest}", "/search?q=openssl"]:
        assert page.goto(ROOT + path).status == 404, path
    page = browser.person(ADMINISTRATOR)
    assert page.goto(f"{ROOT}/integrations/{OTHER_INTEGRATION}").status == 404
    assert page.goto(f"{CONSOLE}/tenants/{OTHER}/images/{digest}").status == 404


def everybody_can_read_the_pages(browser, integration, digest):
    pages = {
        "overview": ROOT, "integration": f"{ROOT}/integrations/{integration}", "images": f"{ROOT}/images",
        "report": f"{ROOT}/images/{digest}", "notifications": f"{ROOT}/notifications", "search": f"{ROOT}/search?q=openssl", "operations": f"{CONSOLE}/operations",
    }
    for scheme in ["light", "dark"]:
        page = browser.person(ADMINISTRATOR, color_scheme=scheme, reduced_motion="reduce")
        for name, address in pages.items():
            browser.look_at(page, f"{name}, {scheme}", address)


def an_integration_is_rotated_and_removed(browser, integration):
    page = browser.person(ADMINISTRATOR)
    page.goto(f"{ROOT}/integrations/{integration}")
    region(page).get_by_role("button", name="Replace the password").click()
    expect(region(page)).to_contain_text("set CredentialGeneration to 2")
    page.get_by_role("link", name="Remove…").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("its role is used no more")).to_be_visible()


def somebody_signs_out(browser):
    page = browser.person(ADMINISTRATOR)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(ROOT)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def main():
    with sync_playwright() as playwright:
        browser = Browser(playwright, CONSOLE, ISSUER, also=[WALK_THROUGH])
        run = browser.run
        quick = run(connects_the_quick_way_with_the_keyboard_alone)
        run(connects_the_classic_way)
        failures.run_all(run)
        digest = run(a_push_and_its_report_appear_without_reload)
        run(it_is_found_by_package_and_digest, digest)
        run(the_walk_throughs_link_signs_in)
        run(the_walk_throughs_button_pushes_another_image)
        run(a_webhook_is_sent_a_test_by_the_notifier)
        run(an_operator_sees_queues_and_tenants)
        run(a_reader_cannot_write, quick)
        run(another_tenants_addresses_are_not_found, quick, digest)
        run(everybody_can_read_the_pages, quick, digest)
        run(an_integration_is_rotated_and_removed, quick)
        run(somebody_signs_out)
        browser.end()


try:
    main()
except Exception:
    traceback.print_exc()
    sys.exit(1)
