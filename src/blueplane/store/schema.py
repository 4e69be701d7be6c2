"""The tables, as text.

Owns every CREATE of the database, in the order in which versions brought them, and the current one.
Promises that a step is never edited once it was released; ``migrations.py`` runs them.
Leaves what the columns mean for a figure to ``docs/ARCHITECTURE.md``.

How a row is kept small: ids are bytes; strings that repeat are interned (``names``), and the four
that always come together as one (``kinds``); a time is its distance in milliseconds from the one
before it on the road, which is small: only history was captured long before its message. The view
``raw_traces`` shows all of it as text and whole times.
"""

#: How many steps have brought a database here.
VERSION = 6

ROAD = """
CREATE TABLE names (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);
CREATE TABLE kinds (
    id         INTEGER PRIMARY KEY,
    platform   TEXT NOT NULL,
    source     TEXT NOT NULL,
    event_type TEXT NOT NULL,
    hook_type  TEXT NOT NULL,
    UNIQUE (platform, source, event_type, hook_type)
);
CREATE TABLE traces (
    sequence              INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id              BLOB NOT NULL UNIQUE,
    kind                  INTEGER NOT NULL,
    session               INTEGER,
    workspace             INTEGER,
    project               INTEGER,
    turn                  INTEGER,
    tool_use_id           TEXT,
    captured_ns           INTEGER NOT NULL,
    timestamp_lag         INTEGER NOT NULL,
    message_lag           INTEGER NOT NULL,
    message_number        INTEGER NOT NULL,
    delivered_lag         INTEGER NOT NULL,
    ingested_lag          INTEGER NOT NULL,
    model                 INTEGER,
    tool                  INTEGER,
    duration_ms           INTEGER,
    input_tokens          INTEGER,
    output_tokens         INTEGER,
    cache_read_tokens     INTEGER,
    cache_creation_tokens INTEGER,
    lines_added           INTEGER,
    lines_removed         INTEGER,
    codec                 INTEGER NOT NULL,
    event_data            BLOB NOT NULL
);
CREATE INDEX traces_session ON traces (session) WHERE session IS NOT NULL;
CREATE VIEW raw_traces AS
SELECT t.sequence,
       lower(hex(t.event_id)) AS event_id,
       (t.captured_ns / 1000000 + t.message_lag) || '-' || t.message_number AS message_id,
       k.platform, k.source, k.event_type, k.hook_type,
       coalesce(s.text, '') AS session_id,
       coalesce(w.text, '') AS workspace_hash,
       coalesce(p.text, '') AS project,
       coalesce(u.text, '') AS turn_id,
       coalesce(t.tool_use_id, '') AS tool_use_id,
       t.captured_ns / 1000000 + t.timestamp_lag AS timestamp_ms,
       t.captured_ns / 1000000 AS captured_ms,
       t.captured_ns / 1000000 + t.message_lag + min(0, t.delivered_lag) AS enqueued_ms,
       t.captured_ns / 1000000 + t.message_lag + t.delivered_lag AS delivered_ms,
       t.captured_ns / 1000000 + t.message_lag + t.delivered_lag + t.ingested_lag AS ingested_ms,
       m.text AS model, n.text AS tool_name,
       t.duration_ms, t.input_tokens, t.output_tokens, t.cache_read_tokens,
       t.cache_creation_tokens, t.lines_added, t.lines_removed, t.codec, t.event_data
FROM traces t
JOIN kinds k ON k.id = t.kind
LEFT JOIN names s ON s.id = t.session
LEFT JOIN names w ON w.id = t.workspace
LEFT JOIN names p ON p.id = t.project
LEFT JOIN names u ON u.id = t.turn
LEFT JOIN names m ON m.id = t.model
LEFT JOIN names n ON n.id = t.tool;

CREATE TABLE dictionaries (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    data       BLOB NOT NULL,
    trained_ms INTEGER NOT NULL
);

CREATE TABLE dead_letters (
    message_id  TEXT PRIMARY KEY,
    event_id    BLOB,
    captured_ns INTEGER,
    origin      TEXT NOT NULL,
    platform    TEXT NOT NULL,
    source      TEXT NOT NULL,
    hook_type   TEXT NOT NULL,
    raw         BLOB NOT NULL,
    reason      TEXT NOT NULL,
    error_class TEXT NOT NULL,
    failures    INTEGER NOT NULL,
    hop         TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'retried', 'dropped')),
    opened_ms   INTEGER NOT NULL,
    retried_ms  INTEGER,
    settled_ms  INTEGER,
    dropped_ms  INTEGER
);
CREATE INDEX dead_letters_event ON dead_letters (event_id);
CREATE TABLE duplicates (
    message_id  TEXT PRIMARY KEY,
    event_id    BLOB NOT NULL,
    captured_ns INTEGER NOT NULL,
    same_origin INTEGER NOT NULL,
    differs     INTEGER NOT NULL,
    noted_ms    INTEGER NOT NULL
);
CREATE INDEX duplicates_event ON duplicates (event_id);
CREATE TABLE settlements (
    origin     TEXT PRIMARY KEY,
    outcome    TEXT NOT NULL CHECK (outcome IN ('filtered', 'quarantined')),
    rule       TEXT NOT NULL,
    platform   TEXT NOT NULL,
    hook_type  TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    settled_ms INTEGER NOT NULL
);

CREATE TABLE custody_totals (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE custody_minutes (
    minute   INTEGER NOT NULL,
    platform TEXT NOT NULL,
    source   TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (minute, platform, source, outcome)
) WITHOUT ROWID;
CREATE TABLE epoch (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    token            TEXT NOT NULL,
    base             INTEGER NOT NULL,
    settled_at_start INTEGER NOT NULL,
    own_at_start     INTEGER NOT NULL,
    high             INTEGER NOT NULL,
    own_high         INTEGER NOT NULL,
    started_ms       INTEGER NOT NULL
);
CREATE TABLE balance (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    as_of_ms INTEGER NOT NULL,
    body     TEXT NOT NULL
);
CREATE TABLE incidents (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER,
    count      INTEGER NOT NULL,
    recovered  INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    ids        TEXT NOT NULL
);
CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE watermarks (
    worker   TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;
"""

RULES = """
CREATE TABLE rules (
    outcome TEXT NOT NULL,
    rule    TEXT NOT NULL,
    count   INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (outcome, rule)
) WITHOUT ROWID;
INSERT INTO rules
SELECT outcome, rule, count(*), max(settled_ms) FROM settlements GROUP BY outcome, rule;
CREATE INDEX settlements_time ON settlements (settled_ms);
CREATE TABLE sources (
    platform TEXT NOT NULL,
    source   TEXT NOT NULL,
    written  INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    PRIMARY KEY (platform, source)
) WITHOUT ROWID;
INSERT INTO sources
SELECT platform, source, sum(count), max(minute) * 60000 FROM custody_minutes
WHERE outcome = 'written' GROUP BY platform, source;
"""

HEALTH = """
CREATE TABLE health (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    as_of_ms INTEGER NOT NULL,
    body     TEXT NOT NULL
);
CREATE TABLE hooks (
    platform  TEXT NOT NULL,
    hook_type TEXT NOT NULL,
    succeeded INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    PRIMARY KEY (platform, hook_type)
) WITHOUT ROWID;
INSERT INTO hooks
SELECT platform, hook_type, sum(succeeded), sum(failed), max(last_ms) FROM (
    SELECT k.platform, k.hook_type, count(*) AS succeeded, 0 AS failed,
           max(t.captured_ns) / 1000000 AS last_ms
    FROM traces t JOIN kinds k ON k.id = t.kind WHERE k.source = 'hook' GROUP BY t.kind
    UNION ALL
    SELECT k.platform, k.hook_type, count(*), 0, max(d.captured_ns) / 1000000
    FROM duplicates d JOIN traces t ON t.event_id = d.event_id JOIN kinds k ON k.id = t.kind
    WHERE k.source = 'hook' AND NOT d.same_origin GROUP BY t.kind
    UNION ALL
    SELECT platform, hook_type, count(*), 0, max(opened_ms) FROM dead_letters
    WHERE source = 'hook' AND origin != '' AND (state != 'retried' OR settled_ms IS NULL)
    GROUP BY platform, hook_type
    UNION ALL
    SELECT platform, hook_type, sum(outcome = 'filtered'), sum(outcome = 'quarantined'),
           max(settled_ms)
    FROM settlements GROUP BY platform, hook_type
    UNION ALL
    SELECT '', '', 0, value, 0 FROM custody_totals WHERE name = 'refused.f'
) GROUP BY platform, hook_type;
"""

CHAIN = """
CREATE TABLE outcomes (
    platform TEXT NOT NULL,
    source   TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    count    INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    PRIMARY KEY (platform, source, outcome)
) WITHOUT ROWID;
INSERT INTO outcomes SELECT platform, source, 'written', written, last_ms FROM sources;
INSERT INTO outcomes
SELECT platform, source, outcome, sum(count), max(minute) * 60000 FROM custody_minutes
WHERE outcome != 'written' GROUP BY platform, source, outcome;
DROP TABLE sources;
CREATE TABLE enqueued (
    source TEXT PRIMARY KEY,
    seen   INTEGER NOT NULL
) WITHOUT ROWID;
ALTER TABLE incidents ADD COLUMN colour TEXT;
CREATE INDEX incidents_breaks ON incidents (started_ms, count, recovered) WHERE colour IS NULL;
CREATE INDEX dead_letters_why ON dead_letters (hop, error_class, opened_ms) WHERE state = 'open';
"""

CAPTURE = """
CREATE TABLE offsets (
    source      TEXT NOT NULL,
    item        TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    offset      INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    born_ms     INTEGER NOT NULL,
    tail        INTEGER NOT NULL,
    PRIMARY KEY (source, item)
) WITHOUT ROWID;

CREATE TABLE forgotten (
    key BLOB PRIMARY KEY
) WITHOUT ROWID;
CREATE TABLE labels (
    id   INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (kind, text)
);
CREATE TABLE sessions (
    id                INTEGER PRIMARY KEY,
    platform          TEXT NOT NULL,
    session_id        TEXT NOT NULL,
    evidence          INTEGER NOT NULL,
    workspace_hash    TEXT,
    project           INTEGER,
    branch            INTEGER,
    parent_id         TEXT,
    continues         TEXT,
    begun_ms          INTEGER,
    begun_by          TEXT,
    resumed_ms        INTEGER,
    started_ms        INTEGER,
    last_ms           INTEGER,
    ended_ms          INTEGER,
    end_reason        TEXT,
    reported_cost_usd REAL,
    UNIQUE (session_id, platform)
);
CREATE INDEX sessions_cleared ON sessions (workspace_hash, ended_ms) WHERE end_reason = 'clear';
CREATE TABLE stretches (
    session    INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    last_ms    INTEGER NOT NULL,
    PRIMARY KEY (session, started_ms)
) WITHOUT ROWID;
CREATE TABLE calls (
    message                  INTEGER NOT NULL,
    request                  INTEGER NOT NULL,
    session                  INTEGER NOT NULL,
    agent                    INTEGER,
    sidechain                INTEGER NOT NULL,
    model                    INTEGER,
    project                  INTEGER,
    branch                   INTEGER,
    timestamp_ms             INTEGER NOT NULL,
    final                    INTEGER NOT NULL,
    input_tokens             INTEGER,
    output_tokens            INTEGER,
    cache_creation_5m_tokens INTEGER,
    cache_creation_1h_tokens INTEGER,
    cache_creation_tokens    INTEGER,
    cache_read_tokens        INTEGER,
    reported_cost_usd        REAL,
    PRIMARY KEY (message, request)
) WITHOUT ROWID;
CREATE VIEW usage AS
SELECT printf('%016x%016x', c.message, c.request) AS call_key,
       s.platform, s.session_id,
       CASE WHEN c.sidechain OR c.agent IS NOT NULL THEN s.session_id ELSE s.parent_id END
       AS parent_session_id,
       a.text AS agent_id, m.text AS model, p.text AS project, b.text AS branch,
       c.timestamp_ms, c.input_tokens, c.output_tokens, c.cache_creation_5m_tokens,
       c.cache_creation_1h_tokens, c.cache_creation_tokens, c.cache_read_tokens, c.final,
       c.reported_cost_usd
FROM calls c
JOIN sessions s ON s.id = c.session
LEFT JOIN labels a ON a.id = c.agent
LEFT JOIN labels m ON m.id = c.model
LEFT JOIN labels p ON p.id = c.project
LEFT JOIN labels b ON b.id = c.branch
WHERE NOT c.sidechain OR NOT EXISTS (
    SELECT 1 FROM calls o WHERE o.message = c.message AND o.request != c.request
    AND (o.sidechain, o.timestamp_ms, o.request) < (1, c.timestamp_ms, c.request)
);
CREATE TABLE witnesses (
    key     INTEGER PRIMARY KEY,
    kind    INTEGER NOT NULL,
    session INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    seen    INTEGER NOT NULL
);
CREATE INDEX witnesses_time ON witnesses (at_ms);
CREATE TABLE first_hooks (
    platform TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) WITHOUT ROWID;
"""

CONVERSATIONS = """
CREATE TABLE conversation_turns (
    key          INTEGER PRIMARY KEY,
    session      INTEGER NOT NULL,
    agent        INTEGER,
    project      INTEGER,
    named        INTEGER NOT NULL,
    evidence     INTEGER NOT NULL,
    prompt_ms    INTEGER,
    prompt_chars INTEGER,
    prompt_words INTEGER,
    prompt_lines INTEGER,
    prompt       TEXT,
    ended_ms     INTEGER,
    outcome      INTEGER,
    model        INTEGER
);
CREATE INDEX conversation_turns_session ON conversation_turns (session);
CREATE TABLE responses (
    key      INTEGER PRIMARY KEY,
    session  INTEGER NOT NULL,
    turn     INTEGER,
    agent    INTEGER,
    evidence INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    chars    INTEGER,
    model    INTEGER
);
CREATE INDEX responses_session ON responses (session);
CREATE TABLE tool_calls (
    key               INTEGER PRIMARY KEY,
    session           INTEGER NOT NULL,
    turn              INTEGER,
    agent             INTEGER,
    evidence          INTEGER NOT NULL,
    part              INTEGER NOT NULL,
    name              INTEGER,
    target            INTEGER,
    hook_started_ms   INTEGER,
    hook_ended_ms     INTEGER,
    stored_started_ms INTEGER,
    stored_ended_ms   INTEGER,
    duration_ms       INTEGER,
    outcome           INTEGER
);
CREATE INDEX tool_calls_session ON tool_calls (session);
CREATE TABLE code_changes (
    key           INTEGER PRIMARY KEY,
    session       INTEGER NOT NULL,
    turn          INTEGER,
    agent         INTEGER,
    tool          INTEGER,
    evidence      INTEGER NOT NULL,
    hook_ms       INTEGER,
    stored_ms     INTEGER,
    file          INTEGER,
    extension     INTEGER,
    lines_added   INTEGER,
    lines_removed INTEGER,
    created       INTEGER,
    tab           INTEGER NOT NULL,
    old_hash      INTEGER,
    new_hash      INTEGER,
    decision      TEXT,
    decided       INTEGER
);
CREATE INDEX code_changes_session ON code_changes (session);
CREATE TABLE compactions (
    key           INTEGER PRIMARY KEY,
    session       INTEGER NOT NULL,
    evidence      INTEGER NOT NULL,
    part          INTEGER NOT NULL,
    at_ms         INTEGER NOT NULL,
    cause         TEXT,
    tokens_before INTEGER,
    tokens_after  INTEGER
);
CREATE INDEX compactions_session ON compactions (session);
CREATE TABLE subagents (
    key         INTEGER PRIMARY KEY,
    session     INTEGER NOT NULL,
    turn        INTEGER,
    evidence    INTEGER NOT NULL,
    part        INTEGER NOT NULL,
    tool        INTEGER,
    child       TEXT,
    type        INTEGER,
    started_ms  INTEGER,
    ended_ms    INTEGER,
    duration_ms INTEGER,
    tool_calls  INTEGER,
    outcome     INTEGER
);
CREATE INDEX subagents_session ON subagents (session);
CREATE TABLE context_usage (
    key     INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    percent REAL NOT NULL
);
CREATE INDEX context_usage_session ON context_usage (session);
CREATE TABLE line_counts (
    key       INTEGER PRIMARY KEY,
    session   INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    generated INTEGER,
    added     INTEGER,
    removed   INTEGER,
    decided   INTEGER
);
CREATE INDEX line_counts_session ON line_counts (session);
"""

_USAGE_SUMS = """
    calls                     INTEGER NOT NULL,
    final_calls               INTEGER NOT NULL,
    input_tokens              INTEGER NOT NULL,
    output_tokens             INTEGER NOT NULL,
    cache_creation_5m_tokens  INTEGER NOT NULL,
    cache_creation_1h_tokens  INTEGER NOT NULL,
    cache_creation_tokens     INTEGER NOT NULL,
    cache_read_tokens         INTEGER NOT NULL,
    input_known               INTEGER NOT NULL,
    output_known              INTEGER NOT NULL,
    cache_creation_5m_known   INTEGER NOT NULL,
    cache_creation_1h_known   INTEGER NOT NULL,
    cache_creation_known      INTEGER NOT NULL,
    cache_read_known          INTEGER NOT NULL,
    reported_nano_usd         INTEGER NOT NULL,
    reported_known            INTEGER NOT NULL,
"""

USAGE_ROLLUPS = f"""
DROP VIEW usage;
CREATE VIEW counted_calls AS
SELECT c.*, s.platform, s.session_id, s.parent_id
FROM calls c JOIN sessions s ON s.id = c.session
WHERE NOT c.sidechain OR NOT EXISTS (
    SELECT 1 FROM calls o WHERE o.message = c.message AND o.request != c.request
    AND (o.sidechain, o.timestamp_ms, o.request) < (1, c.timestamp_ms, c.request)
);
CREATE VIEW usage AS
SELECT printf('%016x%016x', c.message, c.request) AS call_key,
       c.platform, c.session_id,
       CASE WHEN c.sidechain OR c.agent IS NOT NULL THEN c.session_id ELSE c.parent_id END
       AS parent_session_id,
       a.text AS agent_id, m.text AS model, p.text AS project, b.text AS branch,
       c.timestamp_ms, c.input_tokens, c.output_tokens, c.cache_creation_5m_tokens,
       c.cache_creation_1h_tokens, c.cache_creation_tokens, c.cache_read_tokens, c.final,
       c.reported_cost_usd
FROM counted_calls c
LEFT JOIN labels a ON a.id = c.agent
LEFT JOIN labels m ON m.id = c.model
LEFT JOIN labels p ON p.id = c.project
LEFT JOIN labels b ON b.id = c.branch;
CREATE TABLE usage_days (
    day                       INTEGER NOT NULL,
    platform                  TEXT NOT NULL,
    model                     INTEGER NOT NULL,
    project                   INTEGER NOT NULL,
    branch                    INTEGER NOT NULL,
    band                      INTEGER NOT NULL,{_USAGE_SUMS}
    PRIMARY KEY (day, platform, model, project, branch, band)
) WITHOUT ROWID;
CREATE TABLE usage_months (
    month                     INTEGER NOT NULL,
    platform                  TEXT NOT NULL,
    model                     INTEGER NOT NULL,
    project                   INTEGER NOT NULL,
    branch                    INTEGER NOT NULL,
    band                      INTEGER NOT NULL,{_USAGE_SUMS}
    PRIMARY KEY (month, platform, model, project, branch, band)
) WITHOUT ROWID;
CREATE TABLE usage_sessions (
    session                   INTEGER NOT NULL,
    day                       INTEGER NOT NULL,
    model                     INTEGER NOT NULL,
    project                   INTEGER NOT NULL,
    band                      INTEGER NOT NULL,{_USAGE_SUMS}
    PRIMARY KEY (session, day, model, project, band)
) WITHOUT ROWID;
CREATE TABLE usage_hours (
    platform                  TEXT NOT NULL,
    hour                      INTEGER NOT NULL,
    day                       INTEGER NOT NULL,
    model                     INTEGER NOT NULL,
    project                   INTEGER NOT NULL,
    band                      INTEGER NOT NULL,{_USAGE_SUMS}
    PRIMARY KEY (platform, hour, day, model, project, band)
) WITHOUT ROWID;
CREATE INDEX sessions_last ON sessions (last_ms);
"""

METRICS = """
CREATE TABLE touched (
    session INTEGER PRIMARY KEY,
    version INTEGER NOT NULL
);
CREATE TABLE session_figures (
    session  INTEGER NOT NULL,
    span     INTEGER NOT NULL,
    platform TEXT NOT NULL,
    project  INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (session, span)
) WITHOUT ROWID;
CREATE INDEX session_figures_span ON session_figures (span, platform, project);
CREATE TABLE session_summaries (
    session      INTEGER PRIMARY KEY,
    duration_ms  INTEGER NOT NULL,
    prompts      INTEGER NOT NULL,
    tool_calls   INTEGER NOT NULL,
    executed     INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    accepted     INTEGER NOT NULL,
    decided      INTEGER NOT NULL,
    productivity REAL
);
CREATE TABLE daily_rollups (
    span     INTEGER NOT NULL,
    platform TEXT NOT NULL,
    project  INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (span, platform, project)
) WITHOUT ROWID;
CREATE INDEX daily_rollups_project ON daily_rollups (platform, project, span);
CREATE TABLE monthly_rollups (
    span     INTEGER NOT NULL,
    platform TEXT NOT NULL,
    project  INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (span, platform, project)
) WITHOUT ROWID;
INSERT INTO touched SELECT id, 1 FROM sessions;
"""
