#!/usr/bin/env python3
"""Golden renderings of chat templates: test/golden/chat/*.json, by Python's jinja2 as transformers uses it.

    python3 -m venv VENV && VENV/bin/pip install -r scripts/requirements-export-b.txt
    VENV/bin/python scripts/make_chat_golden.py

test/golden/chat/templates/*.jinja are prompt formats written after what model publishers document; conversations.json
and snippets.json are made by this script: every conversation through every template, and small templates for each
construct. An entry is {"template" or "source", "variables", "text"} or, where jinja2 raises, "error": the message when
the template itself raised it, else null.
"""
import copy
import datetime
import json
import pathlib

import jinja2
from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "test" / "golden" / "chat"
NOW = datetime.datetime(2026, 7, 4, 15, 9, 26)


def render(source, variables):
    """The text, or what jinja2 raised."""
    template = chat_template_utils._compile_jinja_template(source)
    template.globals["strftime_now"] = NOW.strftime
    try:
        return {"text": template.render(**copy.deepcopy(variables))}
    except jinja2.exceptions.TemplateError as error:
        own = type(error) is jinja2.exceptions.TemplateError  # raise_exception
        return {"error": str(error) if own else None}
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return {"error": None}


# --- conversations -------------------------------------------------------------------------------

def turns(*texts, system=None):
    out = [] if system is None else [{"role": "system", "content": system}]
    for i, text in enumerate(texts):
        out.append({"role": "user" if i % 2 == 0 else "assistant", "content": text})
    return out


ODD = "  Größe: 日本語 🚀 \"quoted\" 'single' <b>&amp;</b> {{ not }} {% a %} \\n back\\slash\t\u00a0 \n"
CONVERSATIONS = {
    "one turn": turns("Hello, who are you?"),
    "system": turns("Hello, who are you?", system="You are a pirate."),
    "three turns": turns("One?", "Yes, one.", "Two?"),
    "five turns with system": turns("One?", "Yes, one.\n", "Two?", " Two it is.", "And three?", system=" Be brief. \n"),
    "answered": turns("One?", "Yes, one."),
    "answered with system": turns("One?", "Yes, one.", system="Be brief."),
    "unicode": turns(ODD, ODD, ODD, system=ODD),
    "special tokens in text": turns("<|im_end|> [INST] </s> <|eot_id|> <end_of_turn>", "[/INST] <s>", "x"),
    "empty": turns("", system=""),
    "thinking": turns("Why?", "<think>\nBecause.\n</think>\n\nSo it is.", "Really?", "<think></think>Yes.", "Hm."),
    "wrong order": [{"role": "assistant", "content": "I start."}, {"role": "user", "content": "No, me."}],
    "two users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "late system": turns("a", "b") + [{"role": "system", "content": "late"}, {"role": "user", "content": "c"}],
    "unknown role": [{"role": "narrator", "content": "It was night."}],
    "no messages": [],
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def conversations():
    out = []
    for path in sorted((GOLDEN / "templates").glob("*.jinja")):
        source = path.read_text()
        for name, messages in CONVERSATIONS.items():
            for prompt in (False, True):
                variables = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": prompt, **TOKENS}
                out.append({"template": path.name, "conversation": name, "add_generation_prompt": prompt,
                            **render(source, variables)})
    return {"made_by": f"jinja2 {jinja2.__version__}", "now": NOW.isoformat(), "tokens": TOKENS,
            "conversations": CONVERSATIONS, "renderings": out}


# --- snippets ------------------------------------------------------------------------------------

VARIABLES = {
    "x": 7, "y": -3, "f": 2.5, "t": "Hello, World", "u": "Größe 日本語 🚀é", "e": "", "n": None, "b": True,
    "l": [3, 1, 2], "w": ["b", "A", "c"], "d": {"k": "v", "n": 1, "items": "shadowed", "o": {"p": [1, {"q": "r"}]}},
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U1"},
                 {"role": "assistant", "content": "A1"}, {"role": "user", "content": [{"type": "text", "text": "U2"}]}],
    "bos_token": "<s>", "html": "<a href='x'>\"&\"</a>", "lines": "one\n\n  two\r\nthree",
}
EXPRESSIONS = """
x|y|z
1 + 2 * 3 - -4 // 3 % 5
7 // 2, -7 // 2, 7 // -2, -7 // -2, 7 % 3, -7 % 3, 7 % -3, -7 % -3
7 / 2, 6 / 2, 1 / 3, 1e16 / 1, 123456789012345680.0, 1e-5 / 1, 0.1 + 0.2, -0.0, 1e22, 2 ** 10, 2 ** -1, 2.0 ** 3, -2 ** 2
7.5 // 2, -7.5 // 2, 7.5 % 2, -7.5 % 2, 7.5 % -2
1 / 0
2 ** 3 ** 2, (2 ** 3) ** 2, 10 - 3 - 2, 2 * 3 ~ 4 * 5, 1 + 2 ** 2
1 + 2 ~ 3
"a" ~ 1 ~ none ~ true ~ 2.0 ~ [1, "x", 'it"s', "it's", none] ~ {"a": 1, 2: [()]} ~ (1,) ~ ("a", 2)
"a" + 1
"a" + "b" * 3 + 2 * "c"
[1] + [2, 3], (1,) + (2,), [0] * 3
[1] + (2,)
-x, +x, -f, -true, not x, not e, not not x
-t
x == 7, x == 7.0, x != 7, "a" == "a", [1, 2] == [1, 2], [1] == (1,), {"a": 1} == {"a": 1.0}, none == none, true == 1, undefined1 == undefined2
1 < 2 < 3, 1 < 3 < 2, 3 > 2 > 1, 1 <= 1, "a" < "b", "é" > "z", [1, 2] < [1, 3], true < 2
1 < "a"
none < 1
"el" in t, "x" in t, "" in t, 1 in l, 9 not in l, "k" in d, "v" in d, not 1 in l, "a" in missing, 1 in (1, 2)
1 in t
1 in x
1 in none
[] in d
t[0], t[-1], t[99], t[1:4], t[:-1], t[::-1], t[-3:], t[5:2], t[::2], t[8:1:-2], t[100:], t[:100], u[0], u[2], u[6:11], u[::-1]
l[0], l[-1], l[9], l[1:], l[::-1], l[:-1], l[-2:], l[::2], l[5:], (1, 2, 3)[1:], l[none:none:none], l[true]
l[::0]
n[1:]
d[1:]
x[1:]
d.k, d["k"], d.missing, d["missing"], d.o.p[1].q, d.o.p.1.q, d.o["p"][0], d.get("k"), d.get("zz"), d.get("zz", 5), d.n
d.items() | list, d.keys() | list, d.values() | list
d.missing.more
missing.more
missing["more"]
missing
missing ~ "x"
missing + "x"
missing | default("D"), n | default("D"), n | default("D", true), e | default("D", boolean=true), 0 | d("D", true), missing | d
none.x, none["x"], x.y, x["y"], t.y, t["y"], l.y
"yes" if x else "no", "yes" if e else "no", ("yes" if e) ~ "|", 1 if false else 2 if false else 3
x and e, x or e, e or n, n and x, e and missing.more, x or missing.more, not e and x
true, True, false, False, none, None
"a" "b" 'c', "tab\\tnew\\nq\\"q\\\\ \\x41 \\u00e9 \\101 \\d \\'"
"日本 \\u65e5"
[1, [2, [3]], {"a": {"b": ()}}], {}, [], (), {"a": 1,}, [1,], (1,)
{"a": 1, "a": 2}, {1: 2}, {x: y, t: t}
t.upper(), t.lower(), t.title(), t.capitalize(), "hELLO wORLD x-y z".title(), "ab cd".capitalize(), "ÉCOLE é".lower(), "école É".upper(), "éa".capitalize()
"  a b ".strip() ~ "|", "  a b ".lstrip() ~ "|", "  a b ".rstrip() ~ "|", "xxaxx".strip("x"), "xyaxy".lstrip("yx"), "abc".rstrip("cb"), "\\u00a0\\x1c a\\u2003".strip() ~ "|", " a ".strip(none) ~ "|"
"a,b,,c".split(","), " a  b c ".split(), "a b c".split(" ", 1), " a  b c ".split(none, 1), "a,b,c".rsplit(",", 1), " a b  c ".rsplit(none, 1), "".split(), "".split(","), "abc".split("bc"), "a<x>b<x>c".split("<x>")[-1], lines.splitlines()
"abc".split("")
t.startswith("He"), t.startswith(("x", "H")), t.endswith("d"), t.endswith(("q",)), t.startswith("")
t.startswith(["H"])
t.startswith(1)
t.replace("l", "L"), t.replace("l", "L", 2), "aaa".replace("", "-"), "aaa".replace("aa", "b"), "aé".replace("", "-", 2), t.replace("o", "")
t.find("o"), t.rfind("o"), t.find("q"), u.find("日"), t.count("l"), "aaa".count("aa"), "日本".count(""), ", ".join(["a", "b"]), "-".join("日本"), "".join([])
", ".join([1])
t.removeprefix("Hello"), t.removesuffix("World"), t.removeprefix("x")
l.index(1), l.count(3), (1, 1).count(1)
l.index(99)
t | upper, t | lower, t | title, t | capitalize, t | length, l | length, d | length, u | length, missing | length, (1, 2) | length, "they're bill's friends (from the-UK) {a [b <c" | title
x | length
none | length
t | trim, "  x " | trim ~ "|", "xax" | trim("x"), 5 | trim, none | trim
l | join, l | join(", "), w | join("-"), messages | join("|", attribute="role"), "abc" | join("."), [1, none, 2.5, "x"] | join(","), d | join(","), missing | join("x")
x | join
l | first, l | last, [] | first, [] | last, t | first, t | last, missing | first, d | first
(l | map("string")) | last
l | list, t | list, d | list, (1, 2) | list, missing | list, range(4) | list, u | list
l | sort, l | sort(reverse=true), w | sort, w | sort(case_sensitive=true), messages[:3] | sort(attribute="role") | map(attribute="role") | list, ["b", "B", "a"] | sort
[1, "a"] | sort
l | reverse | list, t | reverse, u | reverse, l | max, l | min, w | min, w | max, [] | max, l | sum, [] | sum, [1.5, 2] | sum, [[1], [2]] | sum(start=[])
["a", "b", "a", "A"] | unique | list, d | dictsort | map("first") | list, {"b": 2, "a": 3} | dictsort(by="value"), {"b": 2, "A": 3} | dictsort, {"b": 2, "A": 3} | dictsort(true)
"42" | int, " 42 " | int, "4.7" | int, "x" | int, "x" | int(5), 4.9 | int, -4.9 | int, true | int, none | int, "" | int, "1e3" | int, "-5" | int, "+5" | int, "--5" | int, [] | int
"4.5" | float, "x" | float, "x" | float(1.5), 3 | float, " 1e2 " | float, none | float, ".5" | float, "5." | float, "1.2.3" | float
-5 | abs, 5.5 | abs, (-5) | abs, (-5.5) | abs
t | replace("o", "0"), t | replace("o", "0", 1), x | replace(7, 8), none | replace("None", "x")
lines | indent, lines | indent(2), lines | indent(2, true), lines | indent(2, first=false, blank=true), lines | indent("> "), "" | indent, "a\\n" | indent
d.o | tojson, l | tojson, t | tojson, html | tojson, u | tojson, none | tojson, true | tojson, 1.0 | tojson, 1e100 | tojson, {"a": [], "b": {}} | tojson, (1, 2) | tojson, {1: 2} | tojson
d.o | tojson(indent=2), [] | tojson(indent=2), {"b": 1, "a": [1, {}]} | tojson(indent=4, sort_keys=true), u | tojson(ensure_ascii=true), d.o | tojson(separators=(",", ":")), "\\x01\\x7f\\n\\t\\"\\\\/" | tojson, "\\x7f" | tojson(ensure_ascii=true), {"a": 1} | tojson(indent="--")
missing | tojson
range(3) | tojson
messages | map(attribute="role") | list, messages | map(attribute="zz", default="?") | list, w | map("upper") | join, ["a b"] | map("replace", "a", "c") | list, l | map("string") | list, [[1, 2]] | map(attribute=0) | list, [{"a": {"b": 1}}] | map(attribute="a.b") | list
messages | selectattr("role", "equalto", "user") | map(attribute="content") | list, messages | selectattr("role", "eq", "user") | list | length, messages | rejectattr("role", "==", "user") | list | length, messages | selectattr("role") | list | length, messages | selectattr("zz", "defined") | list | length, messages | rejectattr("role", "in", ["user", "system"]) | list
l | select("odd") | list, l | reject("odd") | list, [0, 1, none] | select | list, l | select("gt", 1) | list, l | select(">", 1) | list, [1, "a"] | select("string") | list
(messages | selectattr("role", "equalto", "nobody")) | length
"true" if messages | selectattr("role", "equalto", "nobody") else "false"
messages | selectattr("role", "equalto", "user") | first, (messages | selectattr("role", "equalto", "user") | list)[0].content
t | string, x | string, none | string, [1] | string, true | string
html | safe
html
x is defined, missing is defined, missing is undefined, n is none, n is not none, t is string, x is string, d is mapping, l is mapping, l is sequence, t is sequence, d is sequence, x is sequence, l is iterable, t is iterable, n is iterable, x is iterable, missing is iterable, missing is sequence
x is number, f is number, b is number, b is boolean, x is boolean, x is integer, b is integer, f is float, t is number, x is odd, x is even, x is divisibleby 7, x is divisibleby(2), b is true, b is false, n is false, 1 is true
t is lower, "abc" is lower, "ABC" is upper, "1" is lower, x is eq 7, x is equalto(7), x is ne 7, x is gt 3, x is lt 3, x is ge(7), x is le 7, x is in [7], x is not in [7], "a" is in "abc", n is sameas none, b is sameas true, range is callable, raise_exception is defined, strftime_now is defined
x is defined and t is string or false, not x is string, x is not string and 1
t is odd
range(5) | list, range(2, 5) | list, range(5, 0, -2) | list, range(0) | list, range(3)[1], range(5)[-1], range(10)[2:5] | list
range(1000000)
range(1, 2, 0)
dict(a=1, b="x"), dict({"a": 1}, c=2), dict([("a", 1)]), dict()
namespace(a=1).a, namespace(a=1).b, namespace({"q": 3}).q
strftime_now("%d %b %Y"), strftime_now("%Y-%m-%d %H:%M:%S %A %B %j %p %I %y %a %%")
raise_exception("no " ~ x)
raise_exception()
x()
t.nothing()
d.k()
u.encode()
missing()
3 | unknown_filter
""".strip().splitlines()

# What jinja2 knows and this program refuses by name.
REFUSED = ["u.encode()", "recursive", "{% block", "{{ x[] }}"]

BLOCKS = [
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ m.role }};{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if not loop.first }}>{{ loop.nextitem.role if not loop.last }};{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ i }}{{ loop.index }}{{ loop.last }}{{ loop.length }}{% else %}none{% endfor %}",
    "{% for i in l if i > 5 %}{{ i }}{% else %}none{% endfor %}{% for i in missing %}x{% else %}empty{% endfor %}{% for i in [] %}x{% endfor %}",
    "{% for i in none %}{% endfor %}",
    "{% for i in 5 %}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }},{% endfor %}{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for c in u %}{{ c }}.{% endfor %}{% for i in range(3) %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i // 2) }}{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% if i == 2 %}{% break %}{% endif %}{% endfor %}",
    "{% for i in l %}{% for j in l %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }}{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}",
    "{% for i in l recursive %}{{ i }}{% endfor %}",
    "{% set a = 1 %}{% for i in l %}{{ a }}{% set a = i %}{{ a }}{% endfor %}{{ a }}",
    "{% set ns = namespace(n=0, found=false) %}{% for i in l %}{% set ns.n = ns.n + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.found }}{{ ns.other is defined }}",
    "{% set x.y = 1 %}",
    "{% set ns = namespace() %}{% set ns._a = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (p, q) = [3, 4] %}{{ p }}{{ q }}",
    "{% set a %}text {{ x }}{% endset %}{{ a }}{{ a | length }}{% set b | upper | replace('T', 'x') %}text{% endset %}{{ b }}",
    "{% if x > 5 %}a{% elif x > 3 %}b{% else %}c{% endif %}{% if x > 8 %}a{% elif x > 3 %}b{% else %}c{% endif %}{% if e %}a{% elif n %}b{% else %}c{% endif %}{% if e %}a{% endif %}",
    "{% if x %}{% set z = 5 %}{% endif %}{{ z }}{% if e %}{% set q = 5 %}{% endif %}[{{ q }}]",
    "{% macro m(a, b=2, c='x') %}<{{ a }}{{ b }}{{ c }}{{ x }}>{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=4) }}{{ m() }}{{ m(b=5, a=6) }}{{ m(1) | length }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(q=2) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m() %}{{ z }}{% endmacro %}{{ m() }}{% set z = 1 %}{{ m() }}{% for z in [5] %}{{ m() }}{% endfor %}",
    "{% macro m() %}{% set z = 9 %}{{ z }}{% endmacro %}{{ m() }}[{{ z }}]",
    "{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('T') %}in {{ x }}{% endcall %}",
    "{% macro each(l) %}{% for i in l %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(v, k=0) each(l) %}({{ v }}@{{ k }}){% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% filter upper %}abc {{ t }}{% endfilter %}{% filter replace('a', 'b') | upper %}aca{% endfilter %}",
    "{% with a = 1, b = x %}{{ a }}{{ b }}{% set x = 3 %}{{ x }}{% endwith %}{{ x }}{{ a }}{% with %}{% set g = 1 %}{% endwith %}{{ g }}",
    "{% generation %}{{ x }}{% set z = 1 %}{% endgeneration %}{{ z }}",
    "{% raw %}{{ x }} {% if %} {# c #}{% endraw %}{{ x }}\n{%- raw -%}  a  {%- endraw -%}  b",
    "{# comment {{ x }} #}a{#- c -#} b {# d\n e #}\nf",
    "{% set g = messages | selectattr('role', 'equalto', 'user') %}{% for m in g %}1{% endfor %}{% for m in g %}2{% endfor %}",
    "{% set g = l | map('string') %}{{ g | first }}{{ g | list }}{{ g | list }}",
    "{% set s = namespace(stop=false) %}{% for i in [1, 2, 3, 4] if not s.stop %}{{ i }}{% if i == 2 %}{% set s.stop = true %}{% endif %}{% endfor %}",
    "{% set s = namespace(stop=false) %}{% for i in [1, 2, 3, 4] if not s.stop %}{{ i }}{{ loop.last }}{% if i == 2 %}{% set s.stop = true %}{% endif %}{% endfor %}",
    "{{ messages[1:] | length }}{% set messages = messages[1:] %}{{ messages | length }}{% set loop_messages = messages %}{{ loop_messages[0]['role'] }}",
    "{% for m in messages[::-1] %}{{ m['role'] }},{% endfor %}{% for m in messages[1:-1] %}{{ m.content }}{% endfor %}",
    "{% if messages[0]['role'] == 'system' and messages[0]['content'] is string %}{{ messages[0].content }}{% endif %}{% if messages[3].content is not string %}{% for c in messages[3].content %}{{ c.text }}{% endfor %}{% endif %}",
    "{{ 'a' if x == 7 else raise_exception('no') }}{{ '' if x == 7 }}{{ raise_exception('Wrong: ' + t + \" 'q' \\\"z\\\"\") if x == 7 }}",
    "{% if true %}\n  a\n{% endif %}\nb\n",
    "  {% if true %}\n  a {{ x }}\n  {% endif %}\n  b\n\n",
    "a  {%- if true -%}  b  {%- endif -%}  c",
    "a  {%+ if true %}  b  {%+ endif %}\n  c",
    "{% if true +%}\n  b\n{% endif +%}\n  c",
    "a\n  {{- x -}}  \n b {{ x }}\n",
    "  {# c #}\n  x {# c #}\n{#- d #}\n  y\n",
    "\r\n a\r\n{% if x %}\r\n b\r\n{% endif %}\r c\r\n",
    "x\n\n", "x\n", "\n", "", "   ", "{{ '' }}\n{% if x %}{% endif %}\n",
    "{% set x = 5 -%}\n\n  a {{- ' b' }}\n  {%- if x %} c{% endif -%}\n  d",
    "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- m.role }}\n    {%- else %}\n        {{- '-' }}\n    {%- endif %}\n{%- endfor %}\n",
    "{% for i in l %}\n{{ i }}\n{% endfor %}\nend",
    "{{ {'a': {'b': {}}} }}{{ {'a': [1]}['a'][0] }}{{ [[1], [2]][1][0] }}{{ (1, 2)[1] }}{{ 'abc'[1] }}{{ \"}}\" }}{{ '%}' }}",
    "{{ x }}{{x}}{{ x}}{{-x}}{{x -}} {{+x}}",
    "{% for item in [1, 2] %}{% set ns = namespace(v=item) %}{{ ns.v }}{% endfor %}{{ ns is defined }}",
    "{% set m = {'a': 1} %}{% set m2 = dict(m, b=2) %}{{ m2 }}{{ m2.items() | list }}{% for k, v in m2 | items %}{{ k }}{{ v }}{% endfor %}{% for k, v in m2 | dictsort(reverse=true) %}{{ k }}{% endfor %}",
    "{{ messages | map(attribute='role') | unique | join(',') }}{{ messages | selectattr('content', 'string') | map(attribute='content') | join }}",
    "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% block a %}{% endblock %}", "{% do x %}", "{% trans %}{% endtrans %}",
    "{{ x", "{% if x %}", "{% endif %}", "{{ }}", "{{ x y }}", "{% for %}", "{{ 'abc }}", "{# x", "{{ (1 }}", "{{ 1) }}", "{% set %}", "{{ x | }}",
    "{{ x is }}", "{% for i in l %}{% endif %}", "{{ [1, 2 }}", "{% else %}", "{{ x. }}", "{{ x[] }}", "{{ a = 1 }}", "{% set true = 1 %}",
]


def snippets():
    out = []
    for source in ["{{ " + e + " }}" for e in EXPRESSIONS] + BLOCKS:
        try:
            made = render(source, VARIABLES)
        except jinja2.exceptions.TemplateError:
            made = {"error": None}
        out.append({"source": source, **({"error": None} if any(part in source for part in REFUSED) else made)})
    return {"made_by": f"jinja2 {jinja2.__version__}", "now": NOW.isoformat(), "variables": VARIABLES, "snippets": out}


if __name__ == "__main__":
    for name, made in [("conversations", conversations()), ("snippets", snippets())]:
        (GOLDEN / f"{name}.json").write_text(json.dumps(made, ensure_ascii=False, indent=0) + "\n")
