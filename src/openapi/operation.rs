//! What the document says of each path: its operations, who may ask, what they take and give.
//!
//! Invariant: an operation is `authenticated` wherever the document gives any sign that it asks who somebody is: too often
//! costs a hit, too seldom could show a stranger's page. It refuses to know what an operation is for.

use http::HeaderName;
use serde_json::Value;

use crate::openapi::document::{Document, Error};
use crate::openapi::noun;
use crate::openapi::shape::Shape;
use crate::openapi::words;
use crate::route::identity::{Identity, Settings};

/// Most parameters of an operation that are read.
const MAX_PARAMETERS: usize = 100;

/// One path with its operations.
#[derive(Clone, Debug)]
pub(crate) struct Resource<'d> {
    pub(crate) shape: Shape,
    pub(crate) read: Option<Operation<'d>>,
    pub(crate) writes: Vec<Operation<'d>>,
}

impl<'d> Resource<'d> {
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Operation<'d>> {
        self.read.iter().chain(&self.writes)
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation<'d> {
    /// Upper case.
    pub(crate) method: &'static str,
    /// On one line.
    pub(crate) summary: String,
    pub(crate) deprecated: bool,
    /// By what it was seen that it asks who somebody is.
    pub(crate) authenticated: Option<String>,
    pub(crate) credentials: Vec<Credential>,
    /// Names of the query.
    pub(crate) query: Vec<&'d str>,
    /// Fields on which the answer may depend, credentials apart.
    pub(crate) headers: Vec<&'d str>,
    /// The schema of the JSON that it takes.
    pub(crate) takes: Option<&'d Value>,
    /// The schema of the JSON that it gives; null: any.
    pub(crate) gives: Option<&'d Value>,
    /// Media types of what it gives, without parameters.
    pub(crate) kinds: Vec<&'d str>,
    /// Statuses that are named.
    pub(crate) statuses: Vec<u16>,
}

/// Where a credential stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A field; whether the built-in list knows it.
    Field(String, bool),
    /// A cookie.
    Cookie(String),
    /// A name in the query.
    Query,
}

const METHODS: [(&str, &str); 5] =
    [("get", "GET"), ("post", "POST"), ("put", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];

/// Fields that no answer is kept apart by here.
const STANDARD: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-charset",
    "user-agent",
    "host",
    "referer",
    "origin",
    "content-type",
    "range",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "idempotency-key",
];

type Skipped = Vec<(String, String)>;

/// Every path that a rule can name, and those that none can.
///
/// # Errors
/// None can be named.
pub(crate) fn resources<'d>(
    document: &'d Document,
    prefix: &str,
) -> Result<(Vec<Resource<'d>>, Skipped), Error> {
    let identity = Identity::new(&Settings::default(), &[0; 32]);
    let reader = Reader { document, identity };
    let mut found: Vec<Resource<'d>> = Vec::new();
    let mut skipped = Skipped::new();
    for (path, item) in document.paths() {
        let shown = words::plain(path, 100);
        let shape = match Shape::of(&format!("{prefix}{path}")) {
            Ok(shape) => shape,
            Err(why) => {
                skipped.push((shown, why));
                continue;
            }
        };
        let item = document.resolve(item);
        let operations =
            METHODS.iter().filter_map(|(key, method)| reader.operation(method, item.get(key)?, item));
        let (read, writes): (Vec<_>, Vec<_>) = operations.partition(|operation| operation.method == "GET");
        let read = read.into_iter().next();
        // The first of the same shape is the one that the application's router takes, method by method.
        let twin = found.iter_mut().find(|other| other.shape.template.is_same_shape(&shape.template));
        match twin {
            None => found.push(Resource { shape, read, writes }),
            Some(twin) => {
                if twin.read.is_none() {
                    twin.read = read;
                }
                for write in writes {
                    if !twin.writes.iter().any(|other| other.method == write.method) {
                        twin.writes.push(write);
                    }
                }
            }
        }
    }
    match (found.is_empty(), skipped.first()) {
        (true, Some((path, why))) => Err(Error::NoUsablePaths(format!("{path}: {why}"))),
        _ => Ok((found, skipped)),
    }
}

struct Reader<'d> {
    document: &'d Document,
    identity: Identity,
}

impl<'d> Reader<'d> {
    fn operation(&self, method: &'static str, value: &'d Value, item: &'d Value) -> Option<Operation<'d>> {
        value.as_object()?;
        let said = |key: &str| value[key].as_str().filter(|text| !text.trim().is_empty());
        let mut operation = Operation {
            method,
            summary: words::plain(said("summary").or(said("operationId")).unwrap_or_default(), 60),
            deprecated: value["deprecated"].as_bool().unwrap_or_default(),
            authenticated: None,
            credentials: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            takes: json(self.document.resolve(&value["requestBody"])),
            gives: None,
            kinds: Vec::new(),
            statuses: Vec::new(),
        };
        self.parameters(value, item, &mut operation);
        self.responses(&value["responses"], &mut operation);
        self.security(value, &mut operation);
        Some(operation)
    }

    fn parameters(&self, value: &'d Value, item: &'d Value, operation: &mut Operation<'d>) {
        let lists = [&value["parameters"], &item["parameters"]];
        for parameter in lists.into_iter().filter_map(Value::as_array).flatten().take(MAX_PARAMETERS) {
            let parameter = self.document.resolve(parameter);
            let Some(name) = parameter["name"].as_str() else { continue };
            match parameter["in"].as_str() {
                Some("query") if !operation.query.contains(&name) => operation.query.push(name),
                Some("cookie") if self.identity.is_credential_cookie(name) => {
                    operation.sign(format!("cookie {}", words::plain(name, 40)));
                    operation.credentials.push(Credential::Cookie(name.to_owned()));
                }
                Some("header") => self.field(name, operation),
                _ => {}
            }
        }
    }

    fn field(&self, name: &'d str, operation: &mut Operation<'d>) {
        let Ok(field) = name.parse::<HeaderName>() else { return };
        let is_known = self.identity.is_credential(&field);
        let tokens = noun::tokens(name);
        let sounds = [
            "token",
            "authorization",
            "auth",
            "apikey",
            "jwt",
            "session",
            "bearer",
            "secret",
            "user",
            "tenant",
        ];
        if is_known || tokens.iter().any(|token| sounds.contains(&token.as_str())) && field != "user-agent" {
            operation.sign(format!("header {}", words::plain(name, 40)));
            operation.credentials.push(Credential::Field(name.to_owned(), is_known));
        } else if !STANDARD.contains(&field.as_str()) && !operation.headers.contains(&name) {
            operation.headers.push(name);
        }
    }

    fn responses(&self, responses: &'d Value, operation: &mut Operation<'d>) {
        let mut best: Option<(u16, &'d Value)> = None;
        for (status, response) in responses.as_object().into_iter().flatten() {
            let number = match status.as_str() {
                "default" | "2XX" | "2xx" => 299,
                status => status.parse().unwrap_or(0),
            };
            operation.statuses.push(number);
            if (200..300).contains(&number) && best.is_none_or(|(other, _)| number < other) {
                best = Some((number, response));
            }
        }
        if let Some(status) = operation.statuses.iter().find(|status| [401, 403].contains(*status)) {
            operation.sign(format!("answers {status}"));
        }
        let Some((_, response)) = best else { return };
        let response = self.document.resolve(response);
        operation.gives = json(response);
        let kinds = response["content"].as_object().into_iter().flatten();
        operation.kinds = kinds.map(|(kind, _)| kind.split(';').next().unwrap_or_default().trim()).collect();
    }

    fn security(&self, value: &'d Value, operation: &mut Operation<'d>) {
        let own = value.get("security").unwrap_or(self.document.security());
        for scheme in
            own.as_array().into_iter().flatten().filter_map(Value::as_object).flatten().map(|(name, _)| name)
        {
            operation.sign(words::plain(scheme, 40));
            let scheme = self.document.scheme(scheme);
            let name = scheme["name"].as_str().unwrap_or_default().to_owned();
            let found = match (scheme["type"].as_str(), scheme["in"].as_str()) {
                (Some("apiKey"), Some("cookie")) => Credential::Cookie(name),
                (Some("apiKey"), Some("query")) => Credential::Query,
                (Some("apiKey"), _) => match name.parse::<HeaderName>() {
                    Ok(field) => Credential::Field(name, self.identity.is_credential(&field)),
                    Err(_) => continue,
                },
                _ => Credential::Field("Authorization".to_owned(), true),
            };
            if !operation.credentials.contains(&found) {
                operation.credentials.push(found);
            }
        }
    }
}

impl Operation<'_> {
    fn sign(&mut self, sign: String) {
        self.authenticated.get_or_insert(sign);
    }
}

/// The schema of a body's JSON; null where it may be anything.
fn json(body: &Value) -> Option<&Value> {
    let content = body["content"].as_object()?;
    content.iter().find(|(kind, _)| is_json(kind)).map(|(_, media)| &media["schema"])
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json") || kind == "*/*"
}
