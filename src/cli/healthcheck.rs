//! `larder healthcheck`: asks a running Larder whether it wants traffic, or lives. It is there for containers, which have no curl.
//!
//! Invariant: it ends within [`PATIENCE`] of being asked, with 0 only if a Larder has answered that all is well.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::admin_client::{Access, Admin, Failure};
use crate::cli::client::Answer;
use crate::cli::{FAILED, Said, conclude};
use crate::config::Env;

/// How long all of it may take. Who asks every few seconds takes no answer for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  larder healthcheck                             does it want traffic? (/readyz)
  larder healthcheck --live                      does it live? (/livez)
  larder healthcheck --admin 127.0.0.1:8082      where nothing says where it is

In a Dockerfile: HEALTHCHECK CMD [\"larder\", \"healthcheck\", \"--live\"]

Exit codes: 0 all is well; 1 it is not, or nothing has answered within two seconds; 2 wrong usage.";

/// `larder healthcheck`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Ask whether the process lives, and not whether it wants traffic: one that warms or drains lives
    #[arg(long)]
    live: bool,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Where probes are answered [default: $LARDER_ADMIN, else `admin.probes` or `admin.listen` of the configuration, else
    /// 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR|URL", help_heading = "Where")]
    admin: Option<String>,
    /// Configuration file that says it [default: $LARDER_CONFIG, else ./larder.yaml if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    config: Option<PathBuf>,
}

/// Runs the command by the machine's environment, stdout and stderr.
pub fn run(args: &Args) -> ExitCode {
    conclude(execute(args, &Env::system()))
}

async fn execute(args: &Args, env: &Env) -> Result<Said, Failure> {
    let access = Access { admin: args.admin.clone(), config: args.config.clone(), token_file: None };
    let admin = access.find_probes(env)?;
    let found = ask(&admin, args.live).await;
    Ok(if args.json { found.for_programs() } else { found.for_people() })
}

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Where, and for what.
    url: String,
    status: Option<u16>,
    /// What all being well is called: `ready`, `degraded`, `live`; or what is wrong.
    word: Result<String, String>,
}

async fn ask(admin: &Admin, live: bool) -> Found {
    let path = if live { "/livez" } else { "/readyz" };
    let url = format!("http://{}{path}", admin.address());
    match tokio::time::timeout(PATIENCE, admin.probe(path)).await {
        Ok(Ok(answer)) => {
            let word = if live { lives(&answer) } else { wants_traffic(&answer) };
            Found { url, status: Some(answer.status.as_u16()), word }
        }
        Ok(Err(why)) => Found { url, status: None, word: Err(why.to_string()) },
        Err(_elapsed) => Found { url, status: None, word: Err(format!("no answer within {PATIENCE:?}")) },
    }
}

fn lives(answer: &Answer) -> Result<String, String> {
    // Whatever else listens there may well say 200.
    match answer.status {
        StatusCode::OK if &answer.body[..] == b"ok\n" => Ok("live".to_owned()),
        StatusCode::OK => Err("this is no answer of Larder's".to_owned()),
        status => Err(format!("it answers {status}")),
    }
}

fn wants_traffic(answer: &Answer) -> Result<String, String> {
    let word = answer.member("status");
    match (answer.status, word.as_str()) {
        (StatusCode::OK, Some(word)) => Ok(word.to_owned()),
        (StatusCode::OK, None) => Err("this is no answer of Larder's".to_owned()),
        (_, Some(word)) => Err(format!("it is {word}")),
        (status, None) => Err(format!("it answers {status}")),
    }
}

impl Found {
    fn code(&self) -> u8 {
        if self.word.is_ok() { 0 } else { FAILED }
    }

    fn for_people(self) -> Said {
        let code = self.code();
        match self.word {
            Ok(word) => Said::data(format!("{word}\n")),
            Err(why) => Said { code, out: String::new(), err: format!("larder: {}: {why}\n", self.url) },
        }
    }

    fn for_programs(self) -> Said {
        let code = self.code();
        let (word, error) = match self.word {
            Ok(word) => (Value::from(word), Value::Null),
            Err(why) => (Value::Null, Value::from(why)),
        };
        let told = json!({ "healthy": code == 0, "state": word, "error": error, "status": self.status, "url": self.url });
        Said { code, out: format!("{told:#}\n"), err: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    fn answer(status: u16, body: &'static str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::from(body), took: Duration::ZERO }
    }

    #[test]
    fn only_a_larder_that_says_so_is_well() {
        assert_eq!(wants_traffic(&answer(200, r#"{"status":"ready"}"#)), Ok("ready".into()));
        assert_eq!(wants_traffic(&answer(200, r#"{"status":"degraded"}"#)), Ok("degraded".into()));
        assert_eq!(wants_traffic(&answer(503, r#"{"status":"warming"}"#)), Err("it is warming".into()));
        assert!(wants_traffic(&answer(200, "<html>")).is_err() && wants_traffic(&answer(404, "")).is_err());
        assert_eq!(lives(&answer(200, "ok\n")), Ok("live".into()));
        assert!(lives(&answer(200, "hello")).is_err() && lives(&answer(500, "ok\n")).is_err());
    }

    #[test]
    fn both_ways_of_telling_end_alike() {
        let found = |word: Result<&str, &str>| Found {
            url: "u".into(),
            status: Some(200),
            word: word.map(Into::into).map_err(Into::into),
        };
        for word in [Ok("ready"), Err("it is warming")] {
            let (people, programs) = (found(word).for_people(), found(word).for_programs());
            assert_eq!(people.code, programs.code);
            assert_eq!(programs.out.contains(r#""healthy": true"#), programs.code == 0);
            assert_eq!(people.out.is_empty(), people.code != 0);
        }
    }
}
