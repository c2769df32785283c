"""Drives the console's pages in Chromium, as people do. Every step waits for what a person would see."""

import json
import os
import re
import sys
import tempfile
import traceback
import urllib.request

from playwright.sync_api import expect, sync_playwright

CONSOLE, ISSUER, WORLD = os.environ["CONSOLE"], os.environ["ISSUER"], os.environ["WORLD"]
TENANT, OTHER = os.environ["TENANT"], os.environ["OTHER_TENANT"]
PICTURES = os.environ["PICTURES"]
ROOT = f"{CONSOLE}/tenants/{TENANT}"
AXE = open(sys.prefix + "/node_modules/axe-core/axe.min.js").read()
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
HOSTILE = "<script>window.pwned=1</script>\u202e\u0000\"'&amp;"
SHOWN = "<script>window.pwned=1</script>\ufffd\ufffd\"'&amp;"
MAX_PAGE = 50_000

expect.set_options(timeout=15_000)


def world(path, **what):
    """Lets something happen outside of the console."""
    request = urllib.request.Request(f"{WORLD}/{path}", json.dumps(what).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = answer.read()
    return json.loads(body) if body else None


class Browser:
    """A browser that notes what no page may do."""

    def __init__(self, playwright):
        self.profile = tempfile.TemporaryDirectory()
        self.browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        self.wrong = []
        self.seen = set()

    def person(self, subject=None, **options):
        options = {"viewport": {"width": 1024, "height": 900}, "permissions": ["clipboard-read", "clipboard-write"]} | options
        context = self.browser.new_context(**options)
        page = context.new_page()
        page.on("request", self.note_request)
        page.on("response", self.note_response)
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self.note_message(page, message))
        if subject:
            page.goto(CONSOLE)
            page.get_by_role("main").get_by_role("link", name="Sign in").click()
            page.locator(f"a[href*='login_hint={subject}']").click()
            expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page

    def note_request(self, request):
        if not request.url.startswith((CONSOLE + "/", ISSUER + "/", "data:")):
            self.wrong.append(f"a request left the origin: {request.url}")
        if request.url.startswith(ISSUER) and not request.is_navigation_request():
            self.wrong.append(f"a page asked the issuer: {request.url}")

    def note_response(self, response):
        if not response.url.startswith(CONSOLE) or response.status >= 300 and response.status < 400:
            return
        if "text/html" in response.headers.get("content-type", ""):
            policy = response.headers.get("content-security-policy", "")
            if "default-src 'none'" not in policy or "unsafe" in policy:
                self.wrong.append(f"{response.url}: the policy is {policy}")
            try:
                size = len(response.body())
            except Exception:  # The page has gone on meanwhile.
                return
            self.seen.add(re.sub(r"[ti]-[0-9a-z]{26}|sha256:[0-9a-f]{64}", "…", response.url.removeprefix(CONSOLE)).split("?")[0])
            if size > MAX_PAGE:
                self.wrong.append(f"{response.url}: {size} bytes")

    def note_message(self, page, message):
        # What is refused on purpose is told by the browser, too.
        if message.type == "error" and "status of 40" not in message.text:
            self.wrong.append(f"{page.url}: {message.text}")


def is_the_same_page(page):
    """Tells whether the page has not been loaded again since it was marked."""
    return page.evaluate("window.marked === true")


def mark(page):
    page.evaluate("window.marked = true")


def integration_of(page):
    return re.search(r"integrations/(i-[0-9a-z]{26})", page.url).group(1)


def region(page, name="eu-central-1"):
    return page.locator(f"#region-{name}")


def tab_to(page, what):
    """Presses Tab until something has the focus: nothing is reached by a mouse."""
    for _ in range(80):
        if what.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{what} is not reached by Tab")


def connects_the_quick_way_with_the_keyboard_alone(browser):
    page = browser.person("ada")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, page.get_by_role("link", name="Connect an account"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type(HOSTILE.replace("\0", ""))
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
    expect(page.get_by_role("alert")).to_contain_text("No region is chosen")
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


CHECKS = [
    "role_arn", "not_ours", "same_account", "role_free", "opens_with_external_id", "session_account", "canary", "refuses_none",
    "refuses_others", "trust_policy", "credentials", "ecr_get_authorization_token", "ecr_batch_get_image", "template_version",
]


def every_failure_shows_its_cause_and_fix_and_is_tested_again(browser, integration):
    page = browser.person("ada")
    page.goto(f"{ROOT}/integrations/{integration}")
    card = region(page)
    for check in CHECKS:
        cause, fix = f"{check} failed {HOSTILE}", f"mend {check}: {HOSTILE}"
        world("flaw", check=check, message=cause, fix=fix)
        card.get_by_role("button", name="Test again").first.click()
        problem = card.locator(".problem")
        expect(problem).to_contain_text(f"{check} failed {SHOWN}")
        expect(problem).to_contain_text(f"mend {check}: {SHOWN}")
        expect(card.locator(".step.bad")).to_have_count(1)
        expect(card).to_contain_text("to be mended")
        problem.get_by_role("button", name="Copy the fix").click()
        assert page.evaluate("navigator.clipboard.readText()").startswith(f"mend {check}: <script>")
    audit(page, "a failure")
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
    page.goto(f"{ROOT}/search?q=%3Cscript%3E")
    expect(page.get_by_text("Nothing is called “<script>”.")).to_be_visible()


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


def a_reader_sees_and_changes_nothing(browser, integration):
    page = browser.person("rex")
    page.goto(f"{ROOT}/integrations")
    expect(page.get_by_role("link", name="Connect an account")).to_have_count(0)
    page.goto(f"{ROOT}/integrations/{integration}")
    expect(region(page)).to_contain_text("watched")
    expect(page.get_by_role("main").get_by_role("button").filter(visible=True).filter(has_not_text="Copy")).to_have_count(0)
    audit(page, "a reader's integration")
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    for path, fields in [
        ("integrations", "name=x&region=eu-central-1&way=quick"), (f"integrations/{integration}/remove", ""),
        (f"integrations/{integration}/verify", "region=eu-central-1"), (f"integrations/{integration}/rotate", "region=eu-central-1"),
        (f"integrations/{integration}/confirm", "account=111122223333"), (f"integrations/{integration}/regions", "region=us-west-1"),
    ]:
        status = page.evaluate(
            """async ([path, body]) => (await fetch(path, {method: "POST", body, redirect: "manual",
                headers: {"Content-Type": "application/x-www-form-urlencoded"}})).status""",
            [f"/tenants/{TENANT}/{path}", f"csrf={csrf}&{fields}"],
        )
        assert status == 403, (path, status)
    for path in ["integrations/new", f"integrations/{integration}/remove"]:
        assert page.goto(f"{ROOT}/{path}").status == 403, path


def another_tenants_pages_are_not_found(browser, integration, digest):
    page = browser.person("zoe")
    mine, missing = f"/tenants/{OTHER}", f"/tenants/t-{'0' * 26}"
    def answer(path):
        response = page.goto(CONSOLE + path)
        return response.status, response.text()
    nothing = answer(f"{missing}/integrations")
    assert nothing[0] == 404
    for path in ["", "/integrations", f"/integrations/{integration}", "/images", f"/images/{digest}", "/search?q=shop"]:
        assert answer(f"/tenants/{TENANT}{path}") == nothing, path
    for path in [f"/integrations/{integration}", f"/integrations/{integration}/remove", f"/images/{digest}"]:
        assert answer(mine + path) == nothing, path
    page.goto(f"{CONSOLE}{mine}/search?q=shop")
    expect(page.get_by_text("Nothing is called")).to_be_visible()


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


def audit(page, what):
    """Finds what keeps people out, by axe-core's rules."""
    found = page.evaluate(AXE + "\naxe.run(document, {resultTypes: ['violations']})")["violations"]
    told = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
    assert not found, f"{what}: {told}"


def everybody_can_read_every_page(browser, integration, digest):
    paths = {
        "overview": "", "integrations": "/integrations", "connect": "/integrations/new", "classic": "/integrations/new?way=classic",
        "integration": f"/integrations/{integration}", "remove": f"/integrations/{integration}/remove", "images": "/images",
        "findings": f"/images/{digest}", "packages": f"/images/{digest}?view=packages", "layers": f"/images/{digest}?view=layers",
        "search": "/search?q=shop",
    }
    pages = {name: ROOT + path for name, path in paths.items()} | {"guide": f"{CONSOLE}/guide"}
    for scheme in ["light", "dark"]:
        page = browser.person("ada", color_scheme=scheme, reduced_motion="reduce")
        for name, address in pages.items():
            page.goto(address)
            audit(page, f"{name}, {scheme}")
            for width in [360, 1024, 1920]:
                page.set_viewport_size({"width": width, "height": 900})
                wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
                if wide:
                    browser.wrong.append(f"{name} is wider than {width}")
                if "SCREENSHOTS" in os.environ:
                    page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png", full_page=True)
            page.set_viewport_size({"width": 360, "height": 900})
            audit(page, f"{name}, {scheme}, narrow")
    stranger = browser.person()
    stranger.goto(CONSOLE)
    audit(stranger, "sign-in")
    stranger.goto(f"{CONSOLE}/guide")
    audit(stranger, "guide of a stranger")


def main():
    with sync_playwright() as playwright:
        browser = Browser(playwright)
        def run(scenario, *arguments):
            print(f"{scenario.__name__.replace('_', ' ')}", flush=True)
            try:
                return scenario(browser, *arguments)
            except Exception:
                for index, page in enumerate(page for context in browser.browser.contexts for page in context.pages):
                    page.screenshot(path=f"{PICTURES}/wrong-{index}.png", full_page=True)
                raise
            finally:
                for context in browser.browser.contexts:
                    context.close()

        integration = run(connects_the_quick_way_with_the_keyboard_alone)
        run(connects_the_classic_way)
        run(every_failure_shows_its_cause_and_fix_and_is_tested_again, integration)
        digest = run(a_push_and_its_report_appear_by_themselves, integration)
        run(images_are_found, digest)
        run(credentials_are_replaced, integration)
        run(a_region_is_added, integration)
        run(a_reader_sees_and_changes_nothing, integration)
        run(another_tenants_pages_are_not_found, integration, digest)
        run(pages_work_without_a_script)
        run(everybody_can_read_every_page, integration, digest)
        run(an_integration_is_removed, integration)
        run(somebody_signs_out)
        browser.browser.close()
        assert not browser.wrong, "\n".join(sorted(set(browser.wrong)))
        print("pages seen:", ", ".join(sorted(browser.seen)))


try:
    main()
except Exception:
    traceback.print_exc()
    sys.exit(1)
