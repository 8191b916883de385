//! What nobody may read in a span, in a line, or in the log.

use crate::origin::Origin;
use crate::receiver::{Mood, Receiver};
use crate::{ask, traced};

const SECRETS: [&str; 6] = [
    "s3cret-authorization",
    "s3cret-cookie",
    "s3cret-query",
    "s3cret-api-key",
    "s3cret-of-the-origin",
    "s3cret-of-the-exporter",
];

#[test]
fn no_credential_is_in_an_export_or_in_a_log() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let headers = "Authorization=Bearer%20s3cret-of-the-exporter,x-tenant=t1";
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", headers),
        ("OTEL_SERVICE_NAME", "shop-cache"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=a%20b"),
    ];
    let config = format!("{}log: {{ level: trace }}\n", crate::CONFIG);
    let proxy = crate::traced_by(&config, origin.address, &receiver, &more);
    let fields = [
        ("Authorization", "Bearer s3cret-authorization"),
        ("Cookie", "session=s3cret-cookie"),
        ("X-Api-Key", "s3cret-api-key"),
    ];
    for path in ["/api/projects/1", "/api/cookie", "/api/fails", "/elsewhere"] {
        for method in ["GET", "PUT"] {
            ask(proxy.listen, method, &format!("{path}?token=s3cret-query"), &fields);
        }
    }
    receiver.wait_for_requests(8);
    let posts = receiver.posts();
    assert!(posts.iter().all(|post| post.head.contains("authorization: bearer s3cret-of-the-exporter\r\n")));
    assert!(posts.iter().all(|post| post.head.contains("x-tenant: t1\r\n")));
    assert!(posts.iter().all(|post| post.head.starts_with("post /v1/traces http/1.1\r\n")));
    let resource = &posts[0].resource;
    assert_eq!(
        ["service.name", "deployment.environment.name", "team"].map(|name| resource[name].as_str()),
        ["shop-cache", "test", "a b"]
    );
    crate::lines(&proxy, 8);
    let exported: Vec<u8> = posts.into_iter().flat_map(|post| post.bytes).collect();
    let exported = String::from_utf8_lossy(&exported).into_owned();
    for (where_, text) in
        [("the export", &exported), ("the access log", &proxy.stdout()), ("the log", &proxy.stderr())]
    {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in {where_}:\n{text}");
        }
    }
}

#[test]
fn what_is_packed_says_the_same() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced(origin.address, &receiver, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    ask(proxy.listen, "GET", "/api/projects/1", &[]);
    receiver.wait_for_requests(1);
    assert!(receiver.posts().iter().all(|post| post.head.contains("content-encoding: gzip\r\n")));
}
