"""The page's markdown: what it makes of text, that pieces make no difference, what it costs, and that nothing in it runs."""

# ruff: noqa: E501 - markup reads better on one line

import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.page.conftest import watched_context
from tests.page.stub_gateway import StubGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Feeds a text in pieces of the given sizes (the last one again and again) and returns the markup that became of it.
FEED = """async ([text, sizes]) => {
  const { Markdown } = await import("/static/markdown.js");
  const root = document.createElement("div");
  const markdown = new Markdown(root);
  for (let from = 0, n = 0; from < text.length; n += 1) {
    const size = sizes[Math.min(n, sizes.length - 1)];
    markdown.append(text.slice(from, from + size));
    from += size;
  }
  markdown.end();
  document.body.append(root);
  document.body.querySelector("#fed")?.remove();
  root.id = "fed";
  for (const each of root.querySelectorAll(".code-head")) each.remove();
  root.normalize();
  return root.innerHTML;
}"""
LINK = '<a href="{}" target="_blank" rel="noopener noreferrer nofollow">{}</a>'

CASES = {
    "plain": ("Hello.", "<p>Hello.</p>"),
    "two paragraphs": ("a\nb\n\nc", "<p>a<br>b</p><p>c</p>"),
    "emphasis": ("*a* **b** ***c*** ~~d~~", "<p><em>a</em> <strong>b</strong> <strong><em>c</em></strong> <del>d</del></p>"),
    "no emphasis": ("2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"),
    "unclosed": ("**a and `b", "<p>**a and `b</p>"),
    "code": ("run `a*b*c` and ``x`y``", "<p>run <code>a*b*c</code> and <code>x`y</code></p>"),
    "escaped": (r"\*a\* \<b\>", "<p>*a* &lt;b&gt;</p>"),
    "heading": ("## Title ##\ntext", "<h4>Title</h4><p>text</p>"),
    "underlined": ("Title\n---\ntext", "<h4>Title</h4><p>text</p>"),
    "rule": ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    "list": ("- a\n- b\n\ntext", "<ul><li><p>a</p></li><li><p>b</p></li></ul><p>text</p>"),
    "numbers": ("3. a\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>'),
    "nested": ("1. a\n  - b\n  - c\n2. d", "<ol><li><p>a</p><ul><li><p>b</p></li><li><p>c</p></li></ul></li><li><p>d</p></li></ol>"),
    "loose": ("- a\n\n  b\n- c", "<ul><li><p>a</p><p>b</p></li><li><p>c</p></li></ul>"),
    "quote": ("> a\n> b\n\nc", "<blockquote><p>a<br>b</p></blockquote><p>c</p>"),
    "fence": ("```py\nif a:\n    *b*\n\n```\nc", '<div class="code"><pre tabindex="0"><code>if a:\n    *b*\n\n</code></pre></div><p>c</p>'),
    "fence in list": ("- a\n  ```\n  b\n  ```\n- c", '<ul><li><p>a</p><div class="code"><pre tabindex="0"><code>b\n</code></pre></div></li><li><p>c</p></li></ul>'),
    "table": (
        "| a | b |\n|---|--:|\n| `1|2` | **3** |\n\nc",
        '<div class="table" tabindex="0" role="region" aria-label="Table"><table><thead><tr><th>a</th><th class="right">b</th></tr>'
        '</thead><tbody><tr><td><code>1|2</code></td><td class="right"><strong>3</strong></td></tr></tbody></table></div><p>c</p>',
    ),
    "link": ("see [the *site*](https://a.example/x?y=(z))!", f"<p>see {LINK.format('https://a.example/x?y=(z)', 'the <em>site</em>')}!</p>"),
    "bare link": ("(https://a.example/b).", f"<p>({LINK.format('https://a.example/b', 'https://a.example/b')}).</p>"),
    "image": ("![cat](https://a.example/c.png)", f"<p>{LINK.format('https://a.example/c.png', 'cat')}</p>"),
    "brackets": ("a[0] and [1, 2] and [x]", "<p>a[0] and [1, 2] and [x]</p>"),
    "markup": ("<b>bold</b> &amp; <script>alert(1)</script>", "<p>&lt;b&gt;bold&lt;/b&gt; &amp; &lt;script&gt;alert(1)&lt;/script&gt;</p>"),
    "entities": ("a &lt;b&gt; &#42;c&#x2a; &mdash; &nope; &;&", "<p>a &lt;b&gt; *c* — &amp;nope; &amp;;&amp;</p>"),
    "entities in code": ("`&lt;`", "<p><code>&amp;lt;</code></p>"),
    "entities around a link": ("&lt;https://a.example/b&gt;", f"<p>&lt;{LINK.format('https://a.example/b', 'https://a.example/b')}&gt;</p>"),
    "entities in a link": ("[x](https://a.example/?b&amp;c)", f"<p>{LINK.format('https://a.example/?b&amp;c', 'x')}</p>"),
    "turned link": (
        "[x](https://\u202egpj.example)",
        '<p><span class="no-link" title="This link was left out: it is none that is safe to follow">x</span></p>',
    ),
    "turned text": ("a \u202eb `\u2066c` &#x202e;d", "<p>a ⟨U+202E⟩b <code>⟨U+2066⟩c</code> ⟨U+202E⟩d</p>"),
}  # fmt: skip

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "[x](java&#115;cript:alert(1))",
    "[x](https://a.example&quot; onmouseover=&quot;alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox(1))",
    "[x](//evil.example)",
    '[x](https://a.example" onmouseover="alert(1))',
    "[x](https://a.example' onclick='alert(1))",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "[a](b](javascript:alert(1))",
    "[](javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[[x](javascript:alert(1))](https://a.example)",
    "[x](blob:https://a.example/1)",
    "[x](file:///etc/passwd)",
    "<https://a.example/<script>alert(1)</script>>",
    "javascript:alert(1)",
    "```\n</code></pre><script>alert(1)</script>\n```",
    '```"><img src=x onerror=alert(1)>\nx\n```',
    "| <img src=x onerror=alert(1)> |\n|---|\n| <svg onload=alert(1)> |",
    "[x](https://\u202egpj.example)",
]

MONSTERS = {
    "quotes": "> " * 5000,
    "lists": "- " * 5000 + "x",
    "brackets": "[" * 20_000,
    "closed brackets": "[" * 5000 + "]" * 5000,
    "links": "[a](" * 5000,
    "stars": "*a " * 7000,
    "runs": "**a*" * 5000,
    "ticks": "`" * 20_000,
    "more ticks": "".join("`" * n + "x" for n in range(200)),
    "spaces": "# a" + " " * 20_000 + "b",
    "bars": "|" * 20_000 + "\n" + "|-" * 10_000 + "|",
    "dashes": "-" * 20_000,
    "entities": "&lt;&#x" * 3000,
    "addresses": "http://" * 3000,
    "one line": "word " * 4000,
    "deep list": "\n".join("  " * n + "- x" for n in range(300)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """One page for all tests of this file: each puts elements of its own at the end of it."""
    async with StubGateway().serving() as stub, watched_context(browser) as open_page:
        page = await open_page(stub.url)
        await page.wait_for_selector("#app:not([hidden])")
        yield page


@pytest.mark.parametrize("name", CASES)
async def test_what_it_makes(page: Page, name: str) -> None:
    """Markdown becomes the elements it stands for, whatever pieces it comes in."""
    text, expected = CASES[name]
    for sizes in ([10_000], [1], [2], [3], [7]):
        assert await page.evaluate(FEED, [text, sizes]) == expected, f"in pieces of {sizes}"


async def test_pieces_make_no_difference(page: Page) -> None:
    """A text of all there is gives the same page whether it comes at once or in random pieces."""
    dice = random.Random(9)
    parts = [text for text, _ in CASES.values()] + ATTACKS
    for _ in range(40):
        text = "".join(dice.choice(parts) + dice.choice(["\n", "\n\n", " ", ""]) for _ in range(8))
        whole = await page.evaluate(FEED, [text, [100_000]])
        sizes = [dice.randint(1, 9) for _ in range(len(text))]
        assert await page.evaluate(FEED, [text, sizes]) == whole, repr(text)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_nothing_runs(page: Page, attack: str) -> None:
    """Text never becomes a script, a handler, an image or a link that does more than lead to a site."""
    for text in (attack, f"a {attack} b", f"- {attack}\n\n> {attack}", f"**{attack}**"):
        markup = await page.evaluate(FEED, [text, [3]])
        found = await page.evaluate(
            """(markup) => {
              const holder = document.createElement("template");
              holder.innerHTML = markup;
              const all = [...holder.content.querySelectorAll("*")];
              return {
                bad: all.filter((each) => /^(script|img|svg|iframe|object|embed|style|form|input|base|meta)$/i.test(each.tagName)).length,
                handlers: all.filter((each) => each.getAttributeNames().some((name) => name.startsWith("on") || name === "style")).length,
                links: all.filter((each) => each.hasAttribute("href")).map((each) => each.href),
              };
            }""",
            markup,
        )
        assert (found["bad"], found["handlers"]) == (0, 0), markup
        assert all(link.startswith(("http://", "https://", "mailto:")) for link in found["links"]), markup


@pytest.mark.parametrize("name", MONSTERS)
async def test_no_text_takes_long(page: Page, name: str) -> None:
    """20 kB that are made to be slow take no second, at once or in small pieces, and nest no deeper than a page may."""
    for sizes in ([100_000], [16]):
        began = time.monotonic()
        await page.evaluate(FEED, [MONSTERS[name], sizes])
        assert time.monotonic() - began < 2, f"in pieces of {sizes}"
    depth = await page.evaluate(
        """() => {
          let deepest = 0;
          for (let walk = document.querySelector("#fed"), depth = 0; walk; depth += 1, walk = walk.lastElementChild) deepest = depth;
          return deepest;
        }"""
    )
    assert depth < 60


async def test_a_long_answer_costs_what_is_new(page: Page) -> None:
    """The second half of a streamed answer costs no more than twice the first: nothing is drawn again."""
    took = await page.evaluate(
        """async () => {
          const { Markdown } = await import("/static/markdown.js");
          const root = document.createElement("div");
          const markdown = new Markdown(root);
          const half = () => {
            const began = performance.now();
            for (let n = 0; n < 20000; n += 1) markdown.append("some *text* of `it` ");
            return performance.now() - began;
          };
          half();
          return [half(), half()];
        }"""
    )
    assert took[1] < 2 * took[0] + 100, took
