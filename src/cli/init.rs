//! `larder init --from-openapi`: writes a first configuration out of what an application says of itself.
//!
//! Invariant: what it writes, `larder config check` accepts; and no file is overwritten unasked. It decides nothing about routes
//! and writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::body::Body;
use crate::cli::admin_client::Failure;
use crate::cli::{Said, conclude};
use crate::config::{self, Env, Flags};
use crate::openapi::{self, Analysis, Class, Document, MAX_BYTES, Wishes};
use crate::upstream::{How, Origin, Priority, Settings, Upgrade, Upstream};

const EXAMPLES: &str = "\
Examples:
  larder init --from-openapi http://localhost:8000/openapi.json --output larder.yaml
  larder init --from-openapi openapi.json --upstream http://api:8000 > larder.yaml
  python -c 'import json, app; print(json.dumps(app.app.openapi()))' | larder init --from-openapi -

Then: look at what is marked `# review:`, and larder config test.";

/// Where FastAPI has it.
const USUAL: &str = "/openapi.json";
/// For connecting, for the answer's head, and for its body.
const PATIENCE: Duration = Duration::from_secs(30);

/// `larder init`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The OpenAPI document (3.0 to 3.2, JSON or YAML): a URL, a file, or - for stdin
    #[arg(long, value_name = "URL|FILE")]
    from_openapi: String,
    /// Where the configuration goes [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite it
    #[arg(long, requires = "output")]
    force: bool,
    /// The upstream in it [default: the URL's origin, or else what the document's `servers` say]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// What clients put before the document's paths [default: the path of its first server]
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// A field of the request for the document, e.g. 'Authorization: Bearer …'; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The analysis instead of the configuration, for programs
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "that is no field name")?;
    Ok((name, value.trim().parse().map_err(|_| "that is no field value")?))
}

/// Runs the command by the machine's files, network, stdout and stderr.
pub fn run(args: &Args) -> ExitCode {
    conclude(execute(args))
}

async fn execute(args: &Args) -> Result<Said, Failure> {
    if let Some(output) = args.output.as_ref().filter(|output| !args.force && output.exists()) {
        return Err(failed(format!("{} is already there; --force overwrites it", output.display())));
    }
    let from = args.from_openapi.as_str();
    let is_url = from.contains("://");
    let (text, origin) = match is_url {
        true => fetched(from, &args.headers).await?,
        false => (read(from).map_err(|why| failed(format!("{from} cannot be read: {why}")))?, None),
    };
    let wishes = Wishes {
        source: if from == "-" { "stdin".to_owned() } else { from.to_owned() },
        upstream: args.upstream.clone().or(origin).unwrap_or_default(),
        prefix: args.prefix.as_ref().map(|prefix| prefix.trim_end_matches('/').to_owned()),
    };
    let analysed = Document::parse(&text).and_then(|document| openapi::analyse(&document, &wishes));
    let analysis = analysed.map_err(|why| failed(format!("{from}: {why}")))?;
    let yaml = analysis.yaml();
    checked(&yaml)?;
    let out = if args.json { format!("{:#}\n", analysis.json()) } else { yaml };
    let place = match &args.output {
        None => "stdout".to_owned(),
        Some(output) => {
            let done = written(output, args.force, &out);
            done.map_err(|why| failed(format!("{} cannot be written: {why}", output.display())))?;
            output.display().to_string()
        }
    };
    let out = if args.output.is_some() { String::new() } else { out };
    Ok(Said { code: 0, out, err: summary(&analysis, &place) })
}

fn failed(words: String) -> Failure {
    Failure::new(words)
}

/// What would not start is not given to anybody.
fn checked(yaml: &str) -> Result<(), Failure> {
    let checked = config::load_str("larder.yaml", yaml, &Flags::default(), &Env::default());
    checked.map(drop).map_err(|report| {
        failed(format!("what was made of the document would be refused:\n{}", report.render(false)))
    })
}

fn read(from: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    match from {
        "-" => io::stdin().lock().take(most).read_to_end(&mut bytes)?,
        path => File::open(path)?.take(most).read_to_end(&mut bytes)?,
    };
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn written(output: &PathBuf, force: bool, text: &str) -> io::Result<()> {
    if force {
        return fs::write(output, text);
    }
    OpenOptions::new().write(true).create_new(true).open(output)?.write_all(text.as_bytes())
}

/// The document at a URL, and where that is.
async fn fetched(
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<(String, Option<String>), Failure> {
    let told = |why: String| failed(format!("{url}: {why}"));
    let uri: Uri = url.parse().map_err(|_| told("that is no URL".to_owned()))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(told("only http:// and https:// are fetched".to_owned())),
    };
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    if authority.contains('@') || authority.is_empty() {
        return Err(told("it has to name a host, and no user; -H sends credentials".to_owned()));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let origin = Origin::Tcp { tls, host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }) };
    let path = uri.path_and_query().filter(|path| path.as_str() != "/").cloned();
    let mut request = Request::new(Body::from(Bytes::new()));
    *request.uri_mut() = Uri::from(path.unwrap_or(PathAndQuery::from_static(USUAL)));
    let sent = request.headers_mut();
    sent.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| told("that is no URL".to_owned()))?);
    sent.insert(ACCEPT, HeaderValue::from_static("application/json, application/yaml;q=0.5, */*;q=0.1"));
    sent.insert(USER_AGENT, HeaderValue::from_static(concat!("larder/", env!("CARGO_PKG_VERSION"))));
    sent.extend(headers.iter().cloned());
    let text = timeout(2 * PATIENCE, body(request, origin.clone()));
    let text = text.await.map_err(|_elapsed| told("it takes too long".to_owned()))?.map_err(told)?;
    Ok((text, Some(origin.to_string())))
}

async fn body(request: Request<Body>, origin: Origin) -> Result<String, String> {
    let mut settings = Settings::new(vec![origin]);
    (settings.timeout, settings.concurrency) = (PATIENCE, 1);
    let how = How {
        timeout: PATIENCE,
        priority: Priority::Client,
        hold: u64::MAX,
        upgrade: Upgrade::No,
        interim: None,
        permit: None,
    };
    let upstream = Upstream::new(settings).map_err(|why| why.to_string())?;
    let (head, mut body) = upstream.send(request, how).await.map_err(|why| why.to_string())?.into_parts();
    if !head.status.is_success() {
        let place = head.headers.get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.map(|place| format!(", which points to {place}")).unwrap_or_default();
        return Err(format!("it answered {}{place}; FastAPI has its document under {USUAL}", head.status));
    }
    let kind =
        head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| format!("the answer broke off: {why}"))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if bytes.len() > MAX_BYTES {
            return Err(openapi::Error::TooLarge.to_string());
        }
    }
    String::from_utf8(bytes.into()).map_err(|_| format!("it is not UTF-8 text, but `{kind}`"))
}

/// What was found, for people.
fn summary(analysis: &Analysis, place: &str) -> String {
    let kept: Vec<&openapi::Route> = analysis.routes.iter().filter(|route| route.is_kept()).collect();
    let classes = [
        Class::Detail,
        Class::List,
        Class::Search,
        Class::Stats,
        Class::Dashboard,
        Class::Export,
        Class::Job,
        Class::Reference,
    ];
    let count = |class: &Class| kept.iter().filter(|route| route.class == *class).count();
    let presets = classes.iter().map(|class| (count(class), class)).filter(|(count, _)| *count > 0);
    let presets: Vec<String> = presets.map(|(count, class)| format!("{count} {class}")).collect();
    let personal = kept.iter().filter(|route| route.scope() == Some("user")).count();
    let reviews = analysis.reviews();
    let mut told = format!(
        "{} to {place}\n  reads   {} kept ({}), {} bypassed\n  users   {personal} of them are kept for each credential apart\n  \
         writes  {} rules\n  review  {}\n",
        analysis.title,
        kept.len(),
        if presets.is_empty() { "none".to_owned() } else { presets.join(", ") },
        analysis.routes.len() - kept.len(),
        analysis.rules.len(),
        match reviews.len() {
            0 => "nothing is marked".to_owned(),
            count => format!("{count} remarks, at the head of the file and as `# review:` where they count"),
        },
    );
    for review in reviews.iter().take(10) {
        told.push_str(&format!(
            "    {}\n",
            review.chars().filter(|c| !c.is_control()).take(160).collect::<String>()
        ));
    }
    if reviews.len() > 10 {
        told.push_str(&format!("    and {} more\n", reviews.len() - 10));
    }
    told
}
