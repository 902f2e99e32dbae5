"""A person with Chromium: logs in, meets another site, logs out. In a process of its own, since its
driver wants the main thread.
    python browse.py CHROMIUM CONSOLE OTHER_SITE
"""

import importlib
import sys


def browse(chromium: str, console: str, other_site: str) -> None:
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{console}/login?return_to=/keys")
        page.fill("input[name=user]", "anna")
        page.fill("input[name=password]", "correct horse")
        page.click("button")
        page.wait_for_url(f"{console}/keys")
        assert page.inner_text("#who") == "Anna Ä."
        kept = {each["name"]: each for each in page.context.cookies()}
        assert (kept["inhouse"]["httpOnly"], kept["inhouse"]["sameSite"]) == (True, "Lax")
        assert "inhouse-login" not in kept
        assert "inhouse" not in page.evaluate("document.cookie")
        page.goto(other_site)
        page.click("button")
        page.wait_for_url(f"{console}/logout")
        assert "nobody is logged in" in page.content()  # the form came without the cookie
        page.goto(f"{console}/")
        assert page.inner_text("#subject") == "u-anna"
        page.click("button")
        page.wait_for_url("**/session/end**")
        gone = page.goto(f"{console}/")
        assert gone.status == 401
        browser.close()


if __name__ == "__main__":
    browse(*sys.argv[1:])
