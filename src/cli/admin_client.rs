//! The admin API of a running Larder, as commands ask it: where it is, with which token, and what its refusals mean to people.
//!
//! ```text
//! address   --admin > LARDER_ADMIN > admin.listen of the configuration > 127.0.0.1:8081
//! token     --token-file > LARDER_ADMIN_TOKEN > admin.token of the configuration
//! ```
//! Invariant: a configuration's token is shown to the listener of that configuration and to nobody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use http::{Method, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use crate::cli::client::{Answer, Ask, Client, Error};
use crate::cli::{BAD_CONFIG, FAILED, USAGE};
use crate::clock::Clock;
use crate::config::{self, Config, Env, Flags};

/// Where the admin API listens unless somebody says otherwise.
const DEFAULT: &str = "127.0.0.1:8081";

/// Where a running Larder is asked.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Access {
    /// Admin API of the running Larder [default: $LARDER_ADMIN, else `admin.listen` of the configuration, else 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR|URL", help_heading = "Where")]
    pub(crate) admin: Option<String>,
    /// File that holds the bearer token [default: $LARDER_ADMIN_TOKEN, else `admin.token` of the configuration]
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub(crate) token_file: Option<PathBuf>,
    /// Configuration file that says both [default: $LARDER_CONFIG, else ./larder.yaml if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub(crate) config: Option<PathBuf>,
}

/// Why a command did not do what it was told, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// For people; several lines perhaps.
    pub(crate) words: String,
    /// With which it was refused; `None`: it was not asked, or did not answer.
    pub(crate) status: Option<StatusCode>,
}

impl Failure {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self { code: FAILED, words: words.into(), status: None }
    }

    /// The configuration is wrong.
    pub(crate) fn configuration(words: impl Into<String>) -> Self {
        Self { code: BAD_CONFIG, ..Self::new(words) }
    }

    /// The command line is wrong.
    pub(crate) fn usage(words: impl Into<String>) -> Self {
        Self { code: USAGE, words: words.into(), status: None }
    }
}

/// A running Larder's admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admin {
    /// Host and port.
    address: String,
    token: Option<String>,
}

impl Access {
    /// Finds it.
    ///
    /// # Errors
    /// What was said of it cannot be read.
    pub(crate) fn find(&self, env: &Env) -> Result<Admin, Failure> {
        let told = self.admin.as_deref().or(env.var("LARDER_ADMIN")).map(host_and_port).transpose()?;
        let of_config = || self.configured(env);
        let (address, by_config) = match told {
            // A configuration that is named has its token in it, wherever its listener is seen from.
            Some(address) => (address, self.config.as_ref().map(|_| of_config()).transpose()?.flatten()),
            None => match of_config()? {
                None => (DEFAULT.to_owned(), None),
                Some(config) => {
                    let off = "the configuration says `admin: off`: this Larder has no admin API; name another with --admin";
                    let listen = config.admin.listen.ok_or_else(|| Failure::new(off))?;
                    (reachable(listen).to_string(), Some(config))
                }
            },
        };
        let token = match &self.token_file {
            Some(file) => Some(read_token(file)?),
            None => env.var("LARDER_ADMIN_TOKEN").map(str::to_owned),
        };
        Ok(Admin { address, token: token.or_else(|| by_config?.admin.token) })
    }

    /// The configuration that `larder run` would read here; `None`: there is none.
    fn configured(&self, env: &Env) -> Result<Option<Config>, Failure> {
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        match config::load(&flags, env) {
            Ok(config) => Ok(Some(config).filter(|config| config.file.is_some())),
            // Without a file nothing was said, so what is missing is not wrong either.
            Err(report) if report.file.is_none() && self.config.is_none() => Ok(None),
            Err(report) => {
                let hint = "name the admin API with --admin to do without the configuration";
                Err(Failure::configuration(format!("{}\n{hint}", report.render(false).trim_end())))
            }
        }
    }
}

impl Admin {
    /// Sends `body` to `path`, and gives what is answered. A success has the member `sure`: what answers to anything with 200
    /// has done nothing.
    ///
    /// # Errors
    /// Why nothing came of it, and what to do.
    pub(crate) async fn post(&self, path: &str, body: &Value, sure: &str) -> Result<Value, Failure> {
        self.ask(&Method::POST, path, Some(&body.to_string()), sure).await
    }

    /// Asks for `path`, with the same care.
    ///
    /// # Errors
    /// As [`Admin::post`].
    pub(crate) async fn get(&self, path: &str, sure: &str) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, None, sure).await
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        json: Option<&str>,
        sure: &str,
    ) -> Result<Value, Failure> {
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let field = token.as_deref().map(|token| ("authorization", token));
        let ask = Ask { method, path, field, json };
        let exchange = async { Client::connect(&self.address, Clock::system()).await?.send(ask).await };
        let answer = exchange.await.map_err(|why| self.unreachable(&why))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, path));
        }
        let done: Option<Value> = serde_json::from_slice(&answer.body).ok();
        done.filter(|done| done.get(sure).is_some()).ok_or_else(|| {
            Failure::new(format!(
                "{} answered something else than the admin API's JSON: is it one?",
                self.address
            ))
        })
    }

    /// Opens what never ends of itself; the body is still to come.
    ///
    /// # Errors
    /// As [`Admin::post`].
    pub(crate) async fn stream(&self, path: &str) -> Result<Incoming, Failure> {
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let field = token.as_deref().map(|token| ("authorization", token));
        let ask = Ask { field, ..Ask::get(path) };
        let exchange = async { Client::connect(&self.address, Clock::system()).await?.begin(ask).await };
        let answer = exchange.await.map_err(|why| self.unreachable(&why))?;
        let is_events = answer
            .headers()
            .get("content-type")
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        match answer.status() {
            StatusCode::OK if is_events => Ok(answer.into_body()),
            _ => {
                let answer = Answer::read(answer).await.map_err(|why| self.unreachable(&why))?;
                Err(self.refused(&answer, path))
            }
        }
    }

    fn unreachable(&self, why: &Error) -> Failure {
        Failure::new(format!(
            "{why}\nis `larder run` up, and its `admin.listen` at {}? another is named with --admin or LARDER_ADMIN",
            self.address
        ))
    }

    fn refused(&self, answer: &Answer, path: &str) -> Failure {
        // FastAPI has a `detail` in its errors, too.
        let is_own = answer.field("content-type").starts_with("application/problem+json");
        let detail = if is_own { answer.member("detail") } else { Value::Null };
        let detail = detail.as_str().unwrap_or_default();
        let address = &self.address;
        let words = match answer.status {
            StatusCode::UNAUTHORIZED if self.token.is_some() => {
                format!("{address} does not take this token: see `admin.token` and `admin.tokens` there")
            }
            StatusCode::UNAUTHORIZED => format!(
                "{address} asks for a token: LARDER_ADMIN_TOKEN, --token-file, or `admin.token` of the configuration (--config)"
            ),
            StatusCode::FORBIDDEN => {
                format!(
                    "{address} does not let the holder of this token do that (`may` in `admin.tokens`). {detail}"
                )
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let after = answer.field("retry-after");
                let after =
                    if after.is_empty() { String::new() } else { format!(" Try again in {after} s.") };
                format!("too often: {detail}{after}")
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if detail.is_empty() => {
                format!("{address} is no admin API of Larder: it knows no {path}. See --admin")
            }
            status if detail.is_empty() => format!("{address} answered {status}"),
            _ => detail.to_owned(),
        };
        Failure { status: Some(answer.status), ..Failure::new(words.trim_end()) }
    }
}

/// The host and port of a URL or an address.
fn host_and_port(text: &str) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::usage(format!("`{text}` names no admin API: {why}"));
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some(_) => return Err(wrong("it speaks plain HTTP, as in http://127.0.0.1:8081")),
        None => text,
    };
    // `:8081` is this machine's.
    let rest = rest.strip_prefix(':').map_or_else(|| rest.to_owned(), |port| format!("127.0.0.1:{port}"));
    let authority: http::uri::Authority =
        rest.parse().map_err(|_| wrong("write 127.0.0.1:8081 or http://larder:8081"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("it takes a token, not a name and a password"));
    }
    Ok(match authority.port() {
        Some(_) => rest,
        None => format!("{rest}:8081"),
    })
}

/// Where this machine connects to what listens on `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn read_token(file: &std::path::Path) -> Result<String, Failure> {
    let failed = |why: String| Failure::new(format!("the token file {} {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|why| failed(format!("cannot be read: {why}")))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed("holds no token: one word on one line".to_owned()));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn access(config: &tempfile::NamedTempFile) -> Access {
        Access { config: Some(config.path().to_owned()), ..Access::default() }
    }

    fn admin(address: &str, token: Option<&str>) -> Admin {
        Admin { address: address.to_owned(), token: token.map(str::to_owned) }
    }

    #[test]
    fn an_address_is_what_people_write_for_one() {
        for (written, meant) in [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://larder:8081/", "larder:8081"),
            ("larder", "larder:8081"),
            (":9000", "127.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(host_and_port(written).as_deref(), Ok(meant));
        }
        for wrong in ["https://larder:8081", "a b", "http://me:secret@larder:8081", "", "http://larder/api"] {
            assert_eq!(host_and_port(wrong).unwrap_err().code, USAGE, "{wrong}");
        }
    }

    #[test]
    fn flag_beats_environment_beats_configuration() {
        let config =
            file("upstream: http://localhost:1\nadmin: { listen: 0.0.0.0:9001, token: of-config }\n");
        let env = Env::of([("LARDER_ADMIN", "other:9002"), ("LARDER_ADMIN_TOKEN", "of-env")]);
        let by_flag = Access { admin: Some("flagged:9003".into()), ..access(&config) };
        assert_eq!(by_flag.find(&env), Ok(admin("flagged:9003", Some("of-env"))));
        assert_eq!(access(&config).find(&env), Ok(admin("other:9002", Some("of-env"))));
        assert_eq!(access(&config).find(&Env::default()), Ok(admin("127.0.0.1:9001", Some("of-config"))));
    }

    #[test]
    fn a_token_file_beats_all_and_has_to_hold_one() {
        let env = Env::of([("LARDER_ADMIN", "a:1"), ("LARDER_ADMIN_TOKEN", "of-env")]);
        let with = |text: &str| {
            let token = file(text);
            Access { token_file: Some(token.path().to_owned()), ..Access::default() }.find(&env)
        };
        assert_eq!(with("of-file\n"), Ok(admin("a:1", Some("of-file"))));
        for wrong in ["", "\n", "two words"] {
            assert_eq!(with(wrong).unwrap_err().code, FAILED);
        }
    }

    #[test]
    fn a_configuration_that_is_wrong_is_told_unless_it_is_not_needed() {
        let config = file("upstreem: http://localhost:1\n");
        let failure = access(&config).find(&Env::default()).unwrap_err();
        assert_eq!(failure.code, BAD_CONFIG);
        assert!(
            failure.words.contains("`upstream`") && failure.words.contains("--admin"),
            "{}",
            failure.words
        );
        let off = file("upstream: http://localhost:1\nadmin: off\n");
        assert!(access(&off).find(&Env::default()).unwrap_err().words.contains("admin: off"));
    }

    #[tokio::test]
    async fn where_nobody_listens_is_said_with_what_to_do() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let failure = admin(&gone, None).post("/v1/purge", &Value::Null, "position").await.unwrap_err();
        assert_eq!(failure.code, FAILED);
        assert!(failure.words.contains(&gone) && failure.words.contains("--admin"), "{}", failure.words);
    }
}
