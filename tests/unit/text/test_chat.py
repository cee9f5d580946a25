"""Chat templates give what transformers' apply_chat_template gives; hostile ones give an error."""

from __future__ import annotations

from typing import Any, Final

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from compiler.diagnostics.diagnostic import CompileError
from runtime.text import load_tokenizer
from runtime.text.chat import chat_prompt
from tests.artifacts import need

SYSTEM: Final = {"role": "system", "content": " Be brief.\nVery. "}
USER: Final = {"role": "user", "content": "What's <b>2 + 2</b>? 🤔"}
ANSWER: Final = {"role": "assistant", "content": "4"}
CHATS: Final = ([USER], [SYSTEM, USER], [SYSTEM, USER, ANSWER, USER], [USER, ANSWER])
TOOLS: Final = [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "é": [1, 2]}}}
]
SPECIAL: Final = {"bos": "<s>", "eos": "</s>"}

#: As people write them: blocks that leave no line, loops with break, namespaces, macros, JSON, refusals.
TEMPLATES: Final = (
    """{{ bos_token }}{% for m in messages %}
{% if m['role'] == 'system' %}
    {{- '<<SYS>>' + m['content'] | trim + '<</SYS>>' }}
{% else %}
    {{- '[' ~ m.role | upper ~ '] ' ~ m.content ~ eos_token }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}[ASSISTANT]{% endif %}
""",
    """{%- set ns = namespace(n=0, last='') -%}
{%- for m in messages if m.role != 'system' -%}
  {%- set ns.n = ns.n + loop.index * loop.length - loop.revindex0 -%}
  {%- set ns.last = m.content -%}
  {{- loop.cycle('a', 'b') ~ (', ' if not loop.last) -}}
  {%- if ns.n > 5 %}{% break %}{% endif -%}
{%- endfor -%}
{{ ns.n }} {{ ns.last | replace('2', 'two') | length }} {{ messages | map(attribute='role') | join('+') }}""",
    """{% macro turn(m, i=0) %}{{ i }}:{{ m.content.strip().split(' ')[0] }}{% endmacro %}
{% if messages[0].role == 'system' %}{% set head, rest = messages[0], messages[1:] %}
{% else %}{% set head, rest = none, messages %}{% endif %}
{% for m in rest %}{{ turn(m, loop.index0) }}
{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles alternate') }}{% endif %}
{% endfor %}{{ head.content if head is not none else 'no ' * 2 }}{{ 7 // 2 ** 1 }}{{ [1] + [2] }}
{% generation %}mine{% endgeneration %}
{% for k, v in messages[0] | dictsort %}{{ k }}={{ v }};{% else %}none{% endfor %}""",
    """{{ '%05d|%s' % (7, 'x') }}{{ 7 % 4 }}{{ '{:>9}|{a}'.format(1, a='b') }}{{ 'a' | center(9) }}
{{ [1, 2] | batch(1) | list }}{{ 'x\ny' | indent(width=3, first=true) }}{{ 3.14159 | round(2) }}""",
    """{% if tools %}{{ tools | tojson }}|{{ tools[0] | tojson(indent=2) }}{% endif %}
{%- if documents is defined and documents %}docs{% endif %}
{{ undefined_name }}{{ (messages | last).content }}""",
)


def ours(template: str | None, messages: Any, **said: Any) -> str:
    return chat_prompt(template, messages, special=SPECIAL, **said)


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
@pytest.mark.parametrize("messages", CHATS, ids=range(len(CHATS)))
@pytest.mark.parametrize("opens", [True, False])
def test_as_transformers(template: str, messages: Any, opens: bool) -> None:
    tokens = {f"{role}_token": token for role, token in SPECIAL.items()}
    for tools in (None, TOOLS):
        (expected,), _ = render_jinja_template(
            [messages], tools=tools, chat_template=template, add_generation_prompt=opens, **tokens
        )
        assert ours(template, messages, add_generation_prompt=opens, tools=tools) == expected


@pytest.mark.parametrize("messages", CHATS, ids=range(len(CHATS)))
def test_smollm2(messages: Any) -> None:
    tokenizer = load_tokenizer(need("smollm2"))
    template = tokenizer.chat_template
    assert template is not None
    (expected,), _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True)
    text = ours(template, messages)
    assert text == expected and text.endswith("<|im_start|>assistant\n")
    ids = tokenizer.encode(text, special=False).tokens[0]
    assert ids[0] == 1 and tokenizer.decode(ids, skip_special=False) == text


def code(template: str | None, messages: Any = (USER,)) -> tuple[str, str]:
    with pytest.raises(CompileError) as caught:
        ours(template, list(messages))
    (found,) = caught.value.diagnostics
    return found.code, found.message


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ '' | attr('__class__') }}",
        "{{ [''] | map(attribute='__class__') | list }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '%s' | format(messages.__class__) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set l = 'aaaaaaaaaaaaaaaa' | list %}" + "{% for a in l %}" * 9 + "{% endfor %}" * 9,
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(80) }}",
        "{% set ns = namespace(x='aa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% for a in range(99999) %}" + "word " * 50 + "{% endfor %}",
        "{{ 'a' * 99999999999 }}",
        "{{ [0] * 99999999999 }}",
        "{{ 'a' | center(99999999999) }}",
        "{{ 'a'.ljust(99999999999) }}",
        "{{ ['a', 'b'] | tojson(indent=99999999999) }}",
        "{{ '%99999999999d' % 1 }}",
        "{{ 9 ** 99999999 }}",
        "{{ 9 ** 999 ** 999 }}",
    ],
)
def test_what_a_template_must_not_do(template: str) -> None:
    assert code(template)[0] == "checkpoint-format"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ range(10 ** 6) }}", ("unreadable", "Range too big")),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ("unreadable", "RecursionError")),
        ("one\n{% if %}", ("unreadable", "line 2")),
        ("{{ messages[0].content + 1 }}", ("unreadable", "TypeError")),
        ("{{ lipsum(2) }}", ("usage", "'lipsum' is undefined")),
        ("{{ raise_exception('alternate!') }}", ("usage", "refuses these messages: alternate!")),
        ("{% include 'x' %}", ("unreadable", "")),
        (None, ("usage", "no chat template")),
    ],
)
def test_what_fails_is_said(template: str | None, said: tuple[str, str]) -> None:
    found = code(template)
    assert found[0] == said[0] and said[1] in found[1]


def test_messages_are_data() -> None:
    assert code("{{ messages }}", [object()])[0] == "usage"
    assert ours("{{ messages[0].content }}", [{"role": "user", "content": "{{ 1 + 1 }}"}]) == "{{ 1 + 1 }}"
