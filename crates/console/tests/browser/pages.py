"""Drives the console's pages in Chromium, as people do. Every step waits for what a person would see."""

import hashlib
import json
import os
import re
import sys
import traceback
import urllib.request

from playwright.sync_api import expect, sync_playwright

import verdicts
from driver import Browser, audit, is_the_same_page, mark, tab_to

CONSOLE, ISSUER, WORLD = os.environ["CONSOLE"], os.environ["ISSUER"], os.environ["WORLD"]
TENANT, OTHER = os.environ["TENANT"], os.environ["OTHER_TENANT"]
ROOT = f"{CONSOLE}/tenants/{TENANT}"
HOSTILE = "<script>window.pwned=1</script>\u202e\u0000\"'&amp;"
SCHEMES = ["light", "dark"]
SHOWN = "<script>window.pwned=1</script>\ufffd\ufffd\"'&amp;"

expect.set_options(timeout=15_000)


def world(path, **what):
    """Lets something happen outside of the console."""
    request = urllib.request.Request(f"{WORLD}/{path}", json.dumps(what or None).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def integration_of(page):
    return re.search(r"integrations/(i-[0-9a-z]{26})", page.url).group(1)


def region(page, name="eu-central-1"):
    return page.locator(f"#region-{name}")


def connects_the_quick_way_with_the_keyboard_alone(browser):
    page = browser.person("ada")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, page.get_by_role("link", name="Connect an account"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type(HOSTILE.translate({0: None, 0x202E: None}))
    tab_to(page, page.get_by_label("eu-central-1"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Go on"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>")
    launch = page.get_by_role("link", name="Launch Stack")
    link = launch.get_attribute("href")
    assert "eu-central-1.console.aws.amazon.com/cloudformation" in link and "param_ExternalId=pw-" in link, link
    expect(region(page)).to_contain_text("waits for its stack")
    integration = integration_of(page)
    mark(page)

    world("claim", integration=integration, region="eu-central-1")
    expect(page.get_by_text("Is AWS account 111122223333 yours?")).to_be_visible()
    expect(region(page).locator(".step.good")).to_have_count(3)
    assert is_the_same_page(page), "the page was loaded again"
    tab_to(page, page.get_by_role("button", name="Confirm account 111122223333"))
    page.keyboard.press("Enter")
    expect(region(page).locator(".step.good")).to_have_count(5)
    mark(page)
    world("heartbeat", integration=integration, region="eu-central-1")
    expect(region(page).get_by_text("watched", exact=True)).to_be_visible()
    expect(region(page).locator(".step.good")).to_have_count(6)
    assert is_the_same_page(page), "the page was loaded again"
    return integration


def connects_the_classic_way(browser):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations/new")
    page.get_by_role("link", name="Classic").click()
    page.get_by_label("Name", exact=True).fill("classic")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose at least one region")
    expect(page.get_by_label("Name", exact=True)).to_have_value("classic")
    page.get_by_label("us-east-1").check(force=True)
    page.get_by_role("button", name="Copy the password").click()
    password = page.evaluate("navigator.clipboard.readText()")
    assert password == page.get_by_label("Password", exact=True).input_value() and len(password) >= 24
    page.get_by_label("User name", exact=True).fill("events")
    page.get_by_role("button", name="Go on").click()
    card = region(page, "us-east-1")
    expect(card).to_contain_text("the one that you chose")
    for name, beginning in [("Url", "https://api.example/v1/events/i-"), ("ExternalId", "pw-"), ("the user name", "events")]:
        card.get_by_role("button", name=f"Copy {name}", exact=True).click()
        assert page.evaluate("navigator.clipboard.readText()").startswith(beginning), name
    assert password not in page.content()
    role = card.get_by_label("Trusted Role ARN")
    role.fill("arn:aws:s3:::bucket")
    card.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("role_arn_invalid")
    role.fill("arn:aws:iam::444455556666:role/classic")
    card.get_by_role("button", name="Save").click()
    expect(card.locator(".step.good")).to_have_count(5)
    world("heartbeat", integration=integration_of(page), region="us-east-1")
    expect(card.get_by_text("watched", exact=True)).to_be_visible()


def every_failure_shows_its_cause_and_fix_and_is_tested_again(browser, integration):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations/{integration}")
    card = region(page)
    sentences = verdicts.sentences()
    flaws = [(check, code, *sentences[code]) for code, check in verdicts.IN_MEMORY.items()]
    flaws += [(check, "some_flaw", f"{check} failed {HOSTILE}", f"mend {check}: {HOSTILE}") for check in ["role_arn", "event_path"]]
    for check, code, cause, fix in flaws:
        is_unknown = code in verdicts.MAY_PASS
        world("flaw", check=check, code=code, message=cause, fix=fix, unknown=is_unknown)
        card.get_by_role("button", name="Test again").first.click()
        problem = card.locator(".problem").filter(has=page.locator("code.code", has_text=re.compile(f"^{code}$")))
        expect(problem).to_contain_text(cause.replace(HOSTILE, SHOWN))
        expect(problem).to_contain_text(fix.replace(HOSTILE, SHOWN))
        expect(card.locator(".step.unsure" if is_unknown else ".step.bad")).to_have_count(1)
        expect(card).to_contain_text("not known" if is_unknown else "to be mended")
        problem.get_by_role("button", name="Copy the fix").click()
        assert page.evaluate("navigator.clipboard.readText()").startswith(fix.replace(HOSTILE, "<script>"))
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        browser.look_at(page, f"failure, {scheme}", f"{ROOT}/integrations/{integration}")
    world("flaw")
    card.get_by_role("button", name="Test again").first.click()
    expect(card.locator(".step.bad")).to_have_count(0)
    world("heartbeat", integration=integration, region="eu-central-1")
    expect(card.get_by_text("watched", exact=True)).to_be_visible()


def a_push_and_its_report_appear_by_themselves(browser, integration):
    page = browser.person("ada")
    page.goto(f"{ROOT}/images")
    mark(page)
    digest = world("push", integration=integration, repository="shop/web", tag="1.4")["digest"]
    expect(page.get_by_role("link", name="shop/web")).to_be_visible()
    expect(page.get_by_text("being scanned")).to_be_visible()
    world("report", digest=digest, name=HOSTILE, packages=120)
    expect(page.get_by_text("120 packages")).to_be_visible()
    assert is_the_same_page(page), "the page was loaded again"
    page.get_by_role("link", name="shop/web").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop/web:1.4")
    expect(page.locator("table.rows tbody tr")).to_have_count(50)
    expect(page.locator("table.rows").first).to_contain_text(SHOWN)
    page.get_by_label("At least").select_option("critical")
    expect(page.get_by_role("status").filter(has_text="of 120")).to_have_text("30 of 120 findings")
    page.get_by_label("Brought by").select_option("yours")
    expect(page.get_by_role("status").filter(has_text="of 120")).to_have_text("15 of 120 findings")
    page.get_by_label("has a fix").check()
    expect(page.get_by_role("status").filter(has_text="of 120")).to_have_text("0 of 120 findings")
    page.get_by_role("link", name="Packages").click()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()
    page.get_by_role("link", name="Layers").click()
    expect(page.locator("table.rows tbody tr")).to_have_count(2)
    expect(page.locator("table.rows")).to_contain_text("base image")
    assert page.evaluate("window.pwned") is None
    return digest


def images_are_found(browser, digest):
    page = browser.person("ada")
    page.goto(ROOT)
    page.get_by_role("searchbox").fill("SHOP")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("main").get_by_role("link", name="shop/web").click()
    expect(page.get_by_role("cell", name="120 packages")).to_be_visible()
    page.get_by_role("searchbox").fill(digest)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("shop/web:1.4")
    page.get_by_role("link", name="Images").first.click()
    page.get_by_role("searchbox").fill("cve-2026-7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Images with cve-2026-7")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("link", name="shop/web").first).to_be_visible()
    page.get_by_role("searchbox").fill("p11")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row")).to_have_count(12)
    page.goto(f"{ROOT}/search?q=%3Cnothing%3E")
    expect(page.get_by_text("Nothing is called “<nothing>”.")).to_be_visible()


def images_are_found_by_their_tags(browser):
    page = browser.person("ada")
    page.goto(f"{ROOT}/images")
    page.get_by_label("Tag", exact=True).fill("NIGHT")
    page.keyboard.press("Enter")
    rows = page.get_by_role("main").get_by_role("row")
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("nightly")
    page.get_by_label("Repository", exact=True).select_option(label="shop/web · eu-central-1 · 111122223333")
    expect(rows).to_have_count(2)
    expect(page.get_by_label("Tag", exact=True)).to_have_value("NIGHT")
    page.get_by_label("Tag", exact=True).fill("<b>")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("There is no image here with “<b>” in a tag.")).to_be_visible()


def what_changed_is_told(browser, integration):
    other = world("push", integration=integration, repository="shop/web", tag="nightly")["digest"]
    world("report", digest=other, name=HOSTILE, packages=8)
    digest = world("push", integration=integration, repository="shop/web", tag="1.4", build=2)["digest"]
    world("report", digest=digest, name=HOSTILE, packages=90)
    page = browser.person("ada")
    page.goto(f"{ROOT}/images")
    row = page.get_by_role("row", name="1.4").filter(has_text=digest[7:19])
    row.get_by_role("link", name="0 new, 30 gone since the image before it").click()
    expect(page.get_by_text("Compared with what 1.4 named before")).to_be_visible()
    expect(page.get_by_text("30 went", exact=False)).to_be_visible()
    expect(page.locator("table.rows").first).to_contain_text("the package went")
    for name in ["Report HTML", "Findings SARIF", "SBOM SPDX JSON"]:
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        assert download.value.failure() is None, name
    return digest


def an_operator_puts_back_what_was_given_up(browser):
    world("bury", messages=3)
    page = browser.person("olga")
    page.get_by_role("link", name="Operations").click()
    expect(page.get_by_role("row", name="scan")).to_contain_text("3")
    expect(page.get_by_role("row", name="Bank")).to_contain_text("none")
    assert TENANT in page.content() and "shop/web" not in page.content()
    page.get_by_role("button", name="Put back into scan").click()
    expect(page.get_by_role("status")).to_have_text("3 messages were put back.")
    expect(page.get_by_role("row", name="scan")).to_contain_text("none")
    page.goto(ROOT)
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here that you may see.")


def credentials_are_replaced(browser, integration):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations/{integration}")
    region(page).get_by_role("button", name="Replace the password").click()
    expect(region(page)).to_contain_text("set CredentialGeneration to 2")
    region(page).get_by_role("button", name="Copy the command").click()
    assert "ParameterKey=CredentialGeneration,ParameterValue=2" in page.evaluate("navigator.clipboard.readText()")


def a_region_is_added(browser, integration):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations/{integration}")
    page.get_by_role("button", name="+ us-west-2").click()
    expect(region(page, "us-west-2").get_by_role("link", name="Launch Stack")).to_be_visible()


def webhook_of(page):
    return re.search(r"notifications/(w-[0-9a-z]{26})", page.url).group(1)


def a_webhook_is_added_and_tested_with_the_keyboard_alone(browser):
    page = browser.person("ada")
    page.goto(f"{ROOT}/notifications")
    name, address = page.get_by_label("Name", exact=True), page.get_by_label("Address", exact=True)
    for wrong in ["http://hooks.example.com/", "https://169.254.169.254/", "https://u:p@hooks.example.com/", "javascript:alert(1)"]:
        tab_to(page, name)
        page.keyboard.press("Control+A")
        page.keyboard.type("<script>window.pwned=1</script>")
        tab_to(page, address)
        page.keyboard.press("Control+A")
        page.keyboard.type(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("webhook_url_invalid")
        expect(page.get_by_role("alert")).to_contain_text("Fix:")
        expect(address).to_have_value(wrong)
    tab_to(page, address)
    page.keyboard.press("Control+A")
    page.keyboard.type("https://hooks.example.com/services/T0/B0")
    tab_to(page, page.get_by_role("button", name="Add it"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Copy the secret now")).to_be_visible()
    webhook = webhook_of(page)
    audit(page, "a secret")
    tab_to(page, page.get_by_role("button", name="Copy the secret"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    secret = page.evaluate("navigator.clipboard.readText()")
    assert secret.startswith("whsec_"), secret
    # Loaded again it is the webhook, without its secret, and no second one is made.
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("<script>window.pwned=1</script>")
    assert secret not in page.content()
    mark(page)
    tab_to(page, page.get_by_role("button", name="Send a test"))
    page.keyboard.press("Enter")
    row = page.get_by_role("row", name="ping")
    expect(row.get_by_text("taken", exact=True)).to_be_visible()
    expect(row).to_contain_text("answered 204")
    world("answer", status=500)
    tab_to(page, row.get_by_role("button", name="Send again"))
    page.keyboard.press("Enter")
    expect(row.get_by_text("given up")).to_be_visible()
    expect(row).to_contain_text("answered 500")
    world("answer", status=410)
    row.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("It answered 410")).to_be_visible()
    world("answer", status=204)
    page.get_by_role("button", name="Switch it on").click()
    expect(page.get_by_role("button", name="Switch it off")).to_be_visible()
    return webhook


def of_two_who_change_a_webhook_one_is_told(browser, webhook):
    one, other = browser.person("ada"), browser.person("ada")
    for page in [one, other]:
        page.goto(f"{ROOT}/notifications/{webhook}")
    one.get_by_label("Name", exact=True).fill("chat")
    one.get_by_role("button", name="Save").click()
    expect(one.get_by_role("heading", level=1)).to_have_text("chat")
    other.get_by_label("Name", exact=True).fill("other")
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_role("alert")).to_contain_text("changed_in_between")
    expect(other.get_by_role("heading", level=1)).to_have_text("chat")
    one.get_by_role("button", name="Replace the secret").click()
    expect(one.get_by_text("The old secret signs, too, for 24 hours.")).to_be_visible()
    one.get_by_role("navigation", name="Console").get_by_role("link", name="Notifications").click()
    expect(one.get_by_role("row", name="chat")).to_contain_text("https://hooks.example.com")
    assert "/services/" not in one.content(), "the list shows no path"


def a_webhook_is_removed(browser, webhook):
    page = browser.person("ada")
    page.goto(f"{ROOT}/notifications/{webhook}")
    page.get_by_role("link", name="Remove…").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("Nobody is told yet")).to_be_visible()
    assert page.goto(f"{ROOT}/notifications/{webhook}").status == 404


def a_reader_sees_and_changes_nothing(browser, integration, webhook):
    page = browser.person("rex")
    page.goto(f"{ROOT}/integrations")
    expect(page.get_by_role("link", name="Connect an account")).to_have_count(0)
    page.goto(f"{ROOT}/integrations/{integration}")
    expect(region(page)).to_contain_text("watched")
    expect(page.get_by_role("main").get_by_role("button").filter(visible=True).filter(has_not_text="Copy")).to_have_count(0)
    audit(page, "a reader's integration")
    page.goto(f"{ROOT}/notifications/{webhook}")
    expect(page.get_by_role("row", name="ping")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button").filter(visible=True).filter(has_not_text="Copy")).to_have_count(0)
    expect(page.get_by_role("main").get_by_role("textbox")).to_have_count(0)
    audit(page, "a reader's webhook")
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    for path, fields in [
        ("integrations", "name=x&region=eu-central-1&way=quick"), (f"integrations/{integration}/remove", ""),
        (f"integrations/{integration}/verify", "region=eu-central-1"), (f"integrations/{integration}/rotate", "region=eu-central-1"),
        ("notifications", "name=x&url=https://hooks.example.com/"), (f"notifications/{webhook}/secret", ""),
        (f"notifications/{webhook}/test", ""), (f"notifications/{webhook}/switch", "on=false"), (f"notifications/{webhook}/remove", ""),
        (f"integrations/{integration}/confirm", "account=111122223333"), (f"integrations/{integration}/regions", "region=us-west-1"),
    ]:
        status = page.evaluate(
            """async ([path, body]) => (await fetch(path, {method: "POST", body, redirect: "manual",
                headers: {"Content-Type": "application/x-www-form-urlencoded"}})).status""",
            [f"/tenants/{TENANT}/{path}", f"csrf={csrf}&{fields}"],
        )
        assert status == 403, (path, status)
    for path in ["integrations/new", f"integrations/{integration}/remove", f"notifications/{webhook}/remove"]:
        assert page.goto(f"{ROOT}/{path}").status == 403, path


def another_tenants_pages_are_not_found(browser, integration, digest, webhook):
    page = browser.person("zoe")
    mine, missing = f"/tenants/{OTHER}", f"/tenants/t-{'0' * 26}"
    def answer(path):
        response = page.goto(CONSOLE + path)
        return response.status, response.text()
    nothing = answer(f"{missing}/integrations")
    assert nothing[0] == 404
    for path in ["", "/integrations", f"/integrations/{integration}", "/images", f"/images/{digest}", "/search?q=shop", "/notifications", f"/notifications/{webhook}"]:
        assert answer(f"/tenants/{TENANT}{path}") == nothing, path
    for path in [f"/integrations/{integration}", f"/integrations/{integration}/remove", f"/images/{digest}", f"/notifications/{webhook}"]:
        assert answer(mine + path) == nothing, path
    page.goto(f"{CONSOLE}{mine}/search?q=shop")
    expect(page.get_by_text("Nothing is called")).to_be_visible()


def a_page_on_which_nothing_happens_rests(browser):
    page = browser.person("ada")
    asked = []
    page.on("request", lambda request: request.resource_type == "fetch" and asked.append(request.url))
    # Where something happens, a page asks every two seconds.
    for address, most in [(f"{CONSOLE}/guide", 0), (f"{ROOT}/images", 2)]:
        page.goto(address)
        asked.clear()
        page.wait_for_timeout(9_000)
        assert len(asked) <= most, asked


def the_guide_has_what_connecting_takes(browser):
    chosen = browser.person("ada")
    chosen.goto(f"{ROOT}/integrations/new")
    regions = chosen.locator("input[name=region]").evaluate_all("all => all.map(one => one.value)")
    page = browser.person()
    page.goto(f"{CONSOLE}/guide")
    for heading in [
        "Choose the credentials yourself", "Inspect the template", "What the stack makes", "What Portwarden can do in your account",
        "Why the ExternalId", "What it costs", "Leave",
    ]:
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    links = page.get_by_role("link", name="Launch Stack").evaluate_all("all => all.map(one => one.href)")
    launched = [re.match(r"https://([a-z0-9-]+)\.console\.aws\.amazon\.com/cloudformation/", link).group(1) for link in links]
    assert launched == regions and len(regions) >= 9, (launched, regions)
    page.get_by_role("button", name="Copy the SHA-256").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    with urllib.request.urlopen(f"{CONSOLE}{page.get_by_role('link', name='read it here').get_attribute('href')}", timeout=10) as answer:
        template = answer.read()
    assert page.evaluate("navigator.clipboard.readText()") == hashlib.sha256(template).hexdigest()


def pages_work_without_a_script(browser):
    page = browser.person("ada", java_script_enabled=False)
    page.goto(f"{ROOT}/integrations/new")
    page.get_by_label("Name", exact=True).fill("plain")
    page.get_by_label("eu-west-1").check(force=True)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("link", name="Launch Stack")).to_be_visible()
    expect(page.get_by_role("button", name="Copy Url")).to_be_hidden()
    world("claim", integration=integration_of(page), region="eu-west-1")
    page.reload()
    expect(page.get_by_role("button", name="Confirm account 111122223333")).to_be_visible()


def an_integration_is_removed(browser, integration):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations/{integration}")
    page.get_by_role("link", name="Remove…").click()
    expect(page.get_by_text("This cannot be taken back.")).to_be_visible()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("its role is used no more")).to_be_visible()
    page.goto(f"{ROOT}/integrations")
    expect(page.get_by_text("1 removed integration")).to_be_visible()


def somebody_signs_out(browser):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{ROOT}/integrations")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.context.cookies(CONSOLE) == [], "a cookie is left"


def everybody_can_read_every_page(browser, integration, digest, webhook):
    paths = {
        "overview": "", "integrations": "/integrations", "connect": "/integrations/new", "classic": "/integrations/new?way=classic",
        "integration": f"/integrations/{integration}", "remove": f"/integrations/{integration}/remove", "images": "/images", "images-tag": "/images?tag=night",
        "findings": f"/images/{digest}", "packages": f"/images/{digest}?view=packages", "layers": f"/images/{digest}?view=layers",
        "changes": f"/images/{digest}?view=changes", "search": "/search?q=shop", "search-package": "/search?q=p1",
        "notifications": "/notifications", "webhook": f"/notifications/{webhook}", "webhook-remove": f"/notifications/{webhook}/remove",
        "search-flaw": "/search?q=CVE-2026-1", "search-nothing": "/search?q=zzz",
    }
    pages = {name: ROOT + path for name, path in paths.items()}
    pages |= {"guide": f"{CONSOLE}/guide", "nowhere": f"{CONSOLE}/nowhere"}
    for scheme in SCHEMES:
        options = {"color_scheme": scheme, "reduced_motion": "reduce"}
        page = browser.person("ada", **options)
        for name, address in pages.items():
            browser.look_at(page, f"{name}, {scheme}", address)
        browser.look_at(browser.person("olga", **options), f"operations, {scheme}", f"{CONSOLE}/operations")
        browser.look_at(browser.person(**options), f"sign-in, {scheme}", CONSOLE)
        # Nothing of the other tenant's is there yet.
        zoe = browser.person("zoe", **options)
        for name in ["integrations", "images", "notifications"]:
            browser.look_at(zoe, f"no-{name}, {scheme}", f"{CONSOLE}/tenants/{OTHER}/{name}")
    stranger = browser.person()
    stranger.goto(f"{CONSOLE}/guide")
    audit(stranger, "guide of a stranger")


def main():
    with sync_playwright() as playwright:
        browser = Browser(playwright, CONSOLE, ISSUER)
        run = browser.run
        integration = run(connects_the_quick_way_with_the_keyboard_alone)
        run(connects_the_classic_way)
        run(every_failure_shows_its_cause_and_fix_and_is_tested_again, integration)
        digest = run(a_push_and_its_report_appear_by_themselves, integration)
        run(images_are_found, digest)
        newer = run(what_changed_is_told, integration)
        run(images_are_found_by_their_tags)
        run(credentials_are_replaced, integration)
        run(a_region_is_added, integration)
        run(an_operator_puts_back_what_was_given_up)
        webhook = run(a_webhook_is_added_and_tested_with_the_keyboard_alone)
        run(of_two_who_change_a_webhook_one_is_told, webhook)
        run(a_reader_sees_and_changes_nothing, integration, webhook)
        run(another_tenants_pages_are_not_found, integration, digest, webhook)
        run(a_page_on_which_nothing_happens_rests)
        run(the_guide_has_what_connecting_takes)
        run(pages_work_without_a_script)
        run(everybody_can_read_every_page, integration, newer, webhook)
        run(a_webhook_is_removed, webhook)
        run(an_integration_is_removed, integration)
        run(somebody_signs_out)
        browser.end()


try:
    main()
except Exception:
    traceback.print_exc()
    sys.exit(1)
