//! What words in paths and fields usually mean, and text of strangers made fit for a comment.
//!
//! The one place for vocabulary: a word more here changes which class an operation falls in.

/// Who somebody is, and how he proves it.
pub(crate) const AUTH: [&str; 26] = [
    "auth",
    "oauth",
    "oauth2",
    "authn",
    "authz",
    "authenticate",
    "login",
    "logout",
    "signin",
    "signout",
    "signup",
    "register",
    "token",
    "refresh",
    "refresh-token",
    "access-token",
    "session",
    "sso",
    "saml",
    "oidc",
    "csrf",
    "mfa",
    "otp",
    "2fa",
    "password",
    "password-recovery",
];
/// The one who asks.
pub(crate) const SELF: [&str; 6] = ["me", "whoami", "self", "current-user", "userinfo", "current"];
/// The end of a session.
pub(crate) const LOGOUT: [&str; 6] = ["logout", "log-out", "signout", "sign-out", "logoff", "revoke"];
/// A new account.
pub(crate) const SIGNUP: [&str; 4] = ["signup", "sign-up", "register", "registration"];
/// How the process is, and what describes it.
pub(crate) const HEALTH: [&str; 19] = [
    "health",
    "healthz",
    "health-check",
    "healthcheck",
    "livez",
    "readyz",
    "liveness",
    "readiness",
    "ready",
    "alive",
    "ping",
    "heartbeat",
    "metrics",
    "docs",
    "redoc",
    "openapi",
    "openapi-json",
    "favicon-ico",
    "version",
];
/// Bytes that come as they are made, or go out in bulk.
pub(crate) const STREAM: [&str; 13] = [
    "stream",
    "streaming",
    "sse",
    "ws",
    "websocket",
    "subscribe",
    "live",
    "tail",
    "watch",
    "download",
    "downloads",
    "upload",
    "poll",
];
/// Another answer each time.
pub(crate) const VOLATILE: [&str; 7] = ["random", "now", "time", "clock", "uuid", "nonce", "dice"];
/// What a GET of these does, and a kept answer would not.
pub(crate) const ACTING: [&str; 10] = [
    "verify",
    "confirm",
    "unsubscribe",
    "activate",
    "callback",
    "redirect",
    "track",
    "click",
    "accept",
    "decline",
];
/// A file made of what there is.
pub(crate) const EXPORT: [&str; 13] = [
    "export",
    "exports",
    "csv",
    "xlsx",
    "xls",
    "pdf",
    "zip",
    "dump",
    "backup",
    "report",
    "invoice-pdf",
    "archive",
    "ics",
];
/// What is looked for.
pub(crate) const SEARCH: [&str; 11] = [
    "search",
    "find",
    "autocomplete",
    "suggest",
    "suggestions",
    "lookup",
    "query",
    "typeahead",
    "filter",
    "similar",
    "recommendations",
];
/// Everything at a glance.
pub(crate) const DASHBOARD: [&str; 6] = ["dashboard", "overview", "home", "feed", "timeline", "activity"];
/// Figures.
pub(crate) const STATS: [&str; 28] = [
    "stats",
    "stat",
    "statistics",
    "summary",
    "count",
    "counts",
    "analytics",
    "aggregate",
    "aggregates",
    "aggregation",
    "totals",
    "histogram",
    "trends",
    "trend",
    "kpi",
    "kpis",
    "usage",
    "leaderboard",
    "ranking",
    "top",
    "popular",
    "trending",
    "rating",
    "progress",
    "metrics",
    "utilization",
    "occupancy",
    "forecast",
];
/// What seldom changes.
pub(crate) const REFERENCE: [&str; 38] = [
    "country",
    "currency",
    "language",
    "locale",
    "timezone",
    "unit",
    "category",
    "enum",
    "type",
    "status",
    "role",
    "permission",
    "option",
    "plan",
    "region",
    "state",
    "city",
    "industry",
    "config",
    "constant",
    "feature",
    "model",
    "size",
    "color",
    "tax-rate",
    "exchange-rate",
    "genre",
    "amenity",
    "topic",
    "template",
    "choice",
    "schema",
    "sector",
    "firmware",
    "material",
    "tag",
    "kind",
    "priority",
];
/// Work that goes on behind an answer.
pub(crate) const JOB: [&str; 17] = [
    "job",
    "run",
    "operation",
    "execution",
    "import",
    "export",
    "build",
    "deployment",
    "pipeline",
    "batch",
    "backup",
    "sync",
    "render",
    "conversion",
    "transcription",
    "background-task",
    "upload-session",
];
/// States in which work goes on.
pub(crate) const RUNNING: [&str; 11] = [
    "pending",
    "queued",
    "running",
    "processing",
    "in_progress",
    "in-progress",
    "started",
    "waiting",
    "scheduled",
    "received",
    "retry",
];
/// States that only work ends in.
pub(crate) const FAILED: [&str; 6] = ["failed", "failure", "error", "errored", "revoked", "crashed"];
/// What stands before a further key of the same thing: `/users/by-name/{name}`.
pub(crate) const SELECTOR: [&str; 12] = [
    "slug", "name", "code", "email", "username", "uuid", "id", "sku", "key", "number", "external", "barcode",
];
/// What a POST does without changing anything, where nothing can be read at its path.
pub(crate) const READING: [&str; 34] = [
    "search",
    "query",
    "find",
    "lookup",
    "filter",
    "answer",
    "answers",
    "ask",
    "predict",
    "prediction",
    "predictions",
    "classify",
    "embed",
    "embeddings",
    "completions",
    "completion",
    "chat",
    "translate",
    "summarize",
    "summarise",
    "calculate",
    "compute",
    "estimate",
    "quote",
    "preview",
    "validate",
    "check",
    "compare",
    "rerank",
    "graphql",
    "similarity",
    "tokenize",
    "simulate",
    "batch-get",
];
/// What the first word of such a name is: `search-by-image`. One that begins with `check` may be a check-in.
pub(crate) const ASKING: [&str; 9] =
    ["search", "query", "find", "lookup", "predict", "calculate", "estimate", "preview", "validate"];
/// Who it is that belongs to a thing, said by what he does with it.
pub(crate) const PERSONS: [&str; 13] = [
    "owner",
    "author",
    "creator",
    "created-by",
    "updated-by",
    "assignee",
    "assigned-to",
    "reporter",
    "uploader",
    "sender",
    "editor",
    "account",
    "user",
];
/// The ends of names of files.
pub(crate) const FILES: [&str; 9] = ["csv", "xlsx", "xls", "pdf", "zip", "ics", "parquet", "xml", "json"];
/// What is done to many at once, or to a collection as a whole.
pub(crate) const BULK: [&str; 27] = [
    "bulk",
    "batch",
    "bulk-create",
    "bulk-update",
    "bulk-delete",
    "import",
    "reorder",
    "sort",
    "sync",
    "upload",
    "merge",
    "clear",
    "delete",
    "delete-many",
    "create-many",
    "update-many",
    "reindex",
    "refresh",
    "recalculate",
    "archive",
    "restore",
    "purge",
    "seed",
    "reset",
    "mark-read",
    "read-all",
    "mark-all-read",
];
/// The end of a thing, said as a POST.
pub(crate) const REMOVAL: [&str; 4] = ["delete", "remove", "destroy", "purge"];
/// Fields that say something of what belongs to a thing, without naming it.
pub(crate) const AGGREGATE: [&str; 13] = [
    "count",
    "total",
    "rating",
    "score",
    "average",
    "avg",
    "num",
    "balance",
    "latest",
    "last",
    "available",
    "occupancy",
    "progress",
];
/// Fields that say in which state a thing is.
pub(crate) const STATES: [&str; 6] = ["status", "state", "stage", "phase", "updated", "modified"];
/// Where the path of a file stands in what FastAPI calls `{p:path}` and its document `{p}`.
const REST: [&str; 9] =
    ["path", "rest", "file_path", "filepath", "filePath", "full_path", "fullPath", "rest_of_path", "subpath"];

/// Whether a parameter at the end of a path probably takes the rest of it.
pub(crate) fn is_rest(name: &str) -> bool {
    REST.contains(&name) || name.ends_with("_path") || name.ends_with("Path")
}

/// Text of a stranger for one line of a comment: nothing that ends the line, that YAML refuses, or that a terminal obeys.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_ascii_graphic() || c.is_alphanumeric() { c } else { ' ' };
    let spaced: String = text.chars().take(4 * most).map(shown).collect();
    let mut words = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(most) {
        words.truncate(at);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_comment() {
        assert_eq!(plain("a\n  b:\t1\u{2028}c\u{85}d\u{7}\u{202e}e", 80), "a b: 1 c d e");
        assert_eq!(plain("äöü", 2), "äö…");
        assert_eq!(plain("", 2), "");
    }

    #[test]
    fn the_rest_of_a_path_is_known_by_its_name() {
        assert!(is_rest("file_path") && is_rest("path") && !is_rest("id"));
    }
}
