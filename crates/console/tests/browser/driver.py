"""A browser that people's steps are driven in, and that notes what no page may do."""

import os
import re
import sys

from playwright.sync_api import expect

PICTURES = os.environ["PICTURES"]
AXE = open(sys.prefix + "/node_modules/axe-core/axe.min.js").read()
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
MAX_PAGE = 50_000
WIDTHS = [360, 1024, 1920]


class Browser:
    """A browser that notes what no page may do."""

    def __init__(self, playwright, console, issuer, also=()):
        self.console, self.issuer = console, issuer
        self.places = (console + "/", issuer + "/", "data:", *also)
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
            page.goto(self.console)
            page.get_by_role("main").get_by_role("link", name="Sign in").click()
            # The issuer writes everything but letters and digits as their codes.
            hint = subject.replace("-", "%2D")
            page.locator(f"a[href*='login_hint={hint}']").click()
            expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page

    def note_request(self, request):
        if not request.url.startswith(self.places):
            self.wrong.append(f"a request left the origin: {request.url}")
        if request.url.startswith(self.issuer) and not request.is_navigation_request():
            self.wrong.append(f"a page asked the issuer: {request.url}")

    def note_response(self, response):
        if not response.url.startswith(self.console) or response.status >= 300 and response.status < 400:
            return
        if "text/html" in response.headers.get("content-type", ""):
            policy = response.headers.get("content-security-policy", "")
            if "default-src 'none'" not in policy or "unsafe" in policy:
                self.wrong.append(f"{response.url}: the policy is {policy}")
            try:
                size = len(response.body())
            except Exception:  # The page has gone on meanwhile.
                return
            self.seen.add(re.sub(r"[ti]-[0-9a-z]{26}|sha256:[0-9a-f]{64}", "…", response.url.removeprefix(self.console)).split("?")[0])
            if size > MAX_PAGE:
                self.wrong.append(f"{response.url}: {size} bytes")

    def note_message(self, page, message):
        # What is refused on purpose is told by the browser, too.
        if message.type == "error" and "status of 4" not in message.text:
            self.wrong.append(f"{page.url}: {message.text}")

    def run(self, scenario, *arguments):
        """Lets a scenario happen, and keeps pictures of what went wrong."""
        print(scenario.__name__.replace("_", " "), file=sys.stderr, flush=True)
        try:
            return scenario(self, *arguments)
        except Exception:
            for index, page in enumerate(page for context in self.browser.contexts for page in context.pages):
                page.screenshot(path=f"{PICTURES}/wrong-{index}.png", full_page=True)
            raise
        finally:
            for context in self.browser.contexts:
                context.close()

    def end(self):
        """Ends the browser, and tells what was wrong all along."""
        self.browser.close()
        assert not self.wrong, "\n".join(sorted(set(self.wrong)))
        print("pages seen:", ", ".join(sorted(self.seen)), file=sys.stderr)

    def look_at(self, page, name, address):
        """Looks at a page in every width, and for what keeps people out."""
        page.goto(address)
        audit(page, name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                self.wrong.append(f"{name} is wider than {width}")
            if "SCREENSHOTS" in os.environ:
                page.screenshot(path=f"{PICTURES}/{name.replace(', ', '-')}-{width}.png", full_page=True)
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        audit(page, f"{name}, narrow")


def is_the_same_page(page):
    """Tells whether the page has not been loaded again since it was marked."""
    return page.evaluate("window.marked === true")


def mark(page):
    page.evaluate("window.marked = true")


def tab_to(page, what):
    """Presses Tab until something has the focus: nothing is reached by a mouse."""
    for _ in range(80):
        if what.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{what} is not reached by Tab")


def audit(page, what):
    """Finds what keeps people out, by axe-core's rules."""
    found = page.evaluate(AXE + "\naxe.run(document, {resultTypes: ['violations']})")["violations"]
    told = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
    assert not found, f"{what}: {told}"
