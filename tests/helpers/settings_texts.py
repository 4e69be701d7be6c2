"""Settings files as people and their tools write them, with tools that nobody has.

Owns the texts, by editor and by what is odd in them.
Promises bytes: line ends, tabs and missing line ends are as they are here.
Leaves what is done with them to the tests.
"""

from typing import Final


def crlf(text: str) -> str:
    """Write a text as on Windows."""
    return text.replace("\n", "\r\n")


_DEEP: Final = '{"next": ' * 60 + "[1, 2, []]" + "}" * 60

_CURSOR: Final = {
    "plain": """{
  "version": 1,
  "hooks": {
    "afterFileEdit": [
      { "command": "lintkeeper fix --quiet" }
    ]
  }
}
""",
    "tabs": """{
\t"version": 1,
\t"hooks": {
\t\t"beforeShellExecution": [
\t\t\t{
\t\t\t\t"command": "./hooks/acme-guard.sh",
\t\t\t\t"matcher": "curl|wget|nc ",
\t\t\t\t"failClosed": true,
\t\t\t\t"timeout": 30
\t\t\t},
\t\t\t{"command": "auditbird record"}
\t\t],
\t\t"stop": [
\t\t\t{"type": "prompt", "prompt": "Are the tests green? {}[]", "loop_limit": null}
\t\t]
\t}
}
""",
    "crlf": crlf("""{
    "version": 1,
    "hooks": {
        "beforeSubmitPrompt": [
            { "command": "powershell.exe -File .\\\\hooks\\\\redact.ps1" }
        ]
    }
}
"""),
    "no-final-newline": """{
  "version": 1,
  "hooks": {
    "stop": [{ "command": "notifyd done" }]
  }
}""",
    "minified": '{"version":1,"hooks":{"stop":[{"command":"notifyd done"}],"afterFileEdit":[]}}',
    "one-line": '{ "version": 1, "hooks": { "stop": [ {"command": "a"}, {"command": "b"} ] } }\n',
    "empty-hooks": """{
  "version": 1,
  "hooks": {}
}
""",
    "empty-events": """{
   "hooks": {
      "stop": [],
      "beforeReadFile": [ ]
   },
   "version": 1
}
""",
    "no-version": """{
  "hooks": {
    "beforeReadFile": [
      {
        "command": "acme-guard read"
      }
    ]
  }
}
""",
    "unknown-keys-and-deep": f"""{{
  "$schema": "https://tools.example/hooks.schema.json",
  "version": 1,
  "x-owner": {{"team": "platform", "since": 2024.50}},
  "x-deep": {_DEEP},

  "hooks": {{

    "afterMCPExecution": [
      {{ "command": "auditbird mcp", "x-auditbird": true }}

    ]
  }},
  "x-last": -1.0E+2
}}
""",
    "comma-first": """{ "version": 1
, "hooks":
  { "stop":
    [ { "command": "one" }
    , { "command": "two" }
    ]
  , "preCompact": [ { "command": "three" } ]
  }
}
""",
}

_CLAUDE_CODE: Final = {
    "typical": """{
  "permissions": {
    "allow": ["Bash(git status:*)", "Read(~/notes/**)"],
    "deny": []
  },
  "env": {
    "ACME_REGION": "north"
  },
  "hooks": {
    "PreToolUse": [
      {
        "matcher": "Bash",
        "hooks": [
          {
            "type": "command",
            "command": "acme-guard check \\"$CLAUDE_PROJECT_DIR\\""
          }
        ]
      }
    ]
  },
  "model": "opus"
}
""",
    "tabs": """{
\t"hooks": {
\t\t"Stop": [
\t\t\t{
\t\t\t\t"hooks": [
\t\t\t\t\t{ "type": "command", "command": "notifyd done", "timeout": 3 }
\t\t\t\t]
\t\t\t}
\t\t]
\t},
\t"statusLine": { "type": "command", "command": "~/bin/line" }
}
""",
    "crlf": crlf("""{
  "cleanupPeriodDays": 30,
  "hooks": {
    "PostToolUse": [
      {
        "matcher": "Edit|Write",
        "hooks": [{ "type": "command", "command": "lintkeeper fix" }]
      }
    ]
  }
}
"""),
    "no-final-newline": """{
  "model": "sonnet"
}""",
    "minified": '{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"n"}]}]},"model":"opus"}',
    "empty-object": "{}\n",
    "several-tools": """{
    "hooks": {
        "PreToolUse": [
            {
                "matcher": "Bash",
                "hooks": [
                    { "type": "command", "command": "acme-guard" },
                    { "type": "http", "url": "http://127.0.0.1:8123/hook", "timeout": 2 }
                ]
            },
            {
                "matcher": "mcp__.*",
                "hooks": [
                    { "type": "prompt", "prompt": "Is this safe? $ARGUMENTS" }
                ]
            }
        ],
        "SessionStart": [
            { "matcher": "startup", "hooks": [ { "type": "command", "command": "cat NOTES" } ] }
        ],
        "SessionEnd": [ { "hooks": [ { "type": "command", "command": "auditbird end" } ] } ]
    }
}
""",
    "unicode-and-escapes": """{
  "env": { "GREETING": "gr\\u00fc\\u00df dich \\ud83d\\ude00", "SNOW": "❄ ☃", "PATH_\\/": "a\\/b" },
  "hooks": {
    "Notification": [
      { "hooks": [ { "type": "command", "command": "notifyd 'käse } ] ,' \\"[{\\"" } ] }
    ]
  }
}
""",
    "odd-space": """

{
  "model" : "opus" ,
   "hooks":{

      "Stop" :[

  {"hooks": [ {"type":"command" , "command": "notifyd"} ] }
            ,{"hooks": [ ] }
      ] ,
    "PreCompact": [ ]

  }   ,
\t"theme":"dark"

}

""",
    "empty-hooks-tail": """{
  "alwaysThinkingEnabled": true,
  "enabledPlugins": {
    "notes@acme": true
  },
  "hooks": { },
  "feedbackSurveyState": { "lastShownTime": 1754990000000 }
}
""",
}

#: (editor, what is odd) -> the bytes of the file.
TEXTS: Final[dict[tuple[str, str], bytes]] = {
    **{("cursor", odd): text.encode() for odd, text in _CURSOR.items()},
    **{("claude_code", odd): text.encode() for odd, text in _CLAUDE_CODE.items()},
}
