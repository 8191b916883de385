//! Redis channels as the real binary hears them: what its operator reads, what a flood costs, and TLS.

use std::fs;

use crate::harness::{Origin, Proxy, get, until};
use crate::redis_server::Redis;

const CHANNEL: &str = "cache:invalidate";
/// What a flood may add to the memory of an idle proxy: buffers, and the list of what was invalidated.
const GROWTH: u64 = 16 << 20;

fn listening(url: &str) -> String {
    format!(
        "routes: {{}}\nredis: {{ subscribe_url: '{url}', subscribe: {CHANNEL} }}\nshutdown: {{ delay: 0s, timeout: 5s }}\n"
    )
}

fn metric(proxy: &Proxy, name: &str) -> u64 {
    let metrics = get(proxy.admin, "/metrics").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a number"))
}

fn connected(proxy: &Proxy) -> bool {
    metric(proxy, "larder_redis_connected") == 1
}

/// Numbers that look like noise, the same in each run.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// A message that means nothing: bytes, half an object, an object of another shape, too deep, or a path that is none.
fn garbage(nth: u64) -> Vec<u8> {
    let length = noise(nth).next().map_or(0, usize::from) * 4 + 1;
    match nth % 5 {
        0 => std::iter::once(0xff).chain(noise(nth).take(length)).collect(),
        1 => format!("{{\"tags\": [\"{nth}\", ").into_bytes(),
        2 => format!("{{\"tagz\": [\"{nth}\"]}}").into_bytes(),
        3 => vec![b'['; length],
        _ => format!("/a/{{{nth}").into_bytes(),
    }
}

#[test]
fn a_hundred_thousand_bad_messages_are_counted_and_leave_nothing_behind() {
    const MESSAGES: u64 = 100_000;
    const AT_ONCE: u64 = 5_000;
    let (redis, origin) = (Redis::start(&[]), Origin::start());
    let proxy = Proxy::start(origin.address, &listening(&redis.url()));
    assert!(connected(&proxy), "before it is ready");
    let mut before = 0;
    for first in (0..MESSAGES).step_by(AT_ONCE as usize) {
        redis.publish_all(CHANNEL, (first..first + AT_ONCE).map(garbage));
        let counted = || metric(&proxy, "larder_redis_bad_messages_total") == first + AT_ONCE;
        until("all are counted", || counted().then_some(()));
        if first == 0 {
            before = proxy.peak();
        }
    }
    redis.publish_all(CHANNEL, (0..20_000).map(|n| format!("tag-{n} /path/{n}")));
    redis.publish_all(CHANNEL, (0..1_000).map(|_| "{\"all\": true}"));
    redis.publish_all(CHANNEL, std::iter::once("{"));
    until("they were heard to the end", || {
        (metric(&proxy, "larder_redis_bad_messages_total") == MESSAGES + 1).then_some(())
    });
    let growth = proxy.peak() - before;
    assert!(growth < GROWTH, "{growth} bytes more");
    assert!(connected(&proxy) && metric(&proxy, "larder_redis_gaps_total") == 0);
    let log = proxy.stderr();
    let complaints = log.lines().filter(|line| line.contains("bad message on cache:invalidate")).count();
    assert!((1..20).contains(&complaints), "{complaints} lines for {MESSAGES} messages:\n{log}");
    assert!(!log.contains("panicked") && log.lines().all(|line| line.len() < 1_000), "{log}");
}

#[test]
fn the_log_says_what_keeps_redis_from_being_heard_once_and_never_the_password() {
    let (mut redis, origin) = (Redis::start(&[]), Origin::start());
    let url = format!("redis://larder:wr0ng@{}", redis.address());
    let proxy = Proxy::start(origin.address, &listening(&url));
    let refusals = || proxy.stderr().matches("ERROR").count();
    assert_eq!(refusals(), 1, "before it is ready:\n{}", proxy.stderr());
    assert!(proxy.stderr().contains("it refuses: WRONGPASS"), "{}", proxy.stderr());
    redis.kill();
    until("it is gone", || proxy.stderr().contains("Connection refused").then_some(()));
    assert_eq!(refusals(), 1, "the same is not said again:\n{}", proxy.stderr());
    assert!(!proxy.stderr().contains("wr0ng"));
    assert_eq!(get(proxy.listen, "/").status, 200, "reads go on");
    assert_eq!(get(proxy.admin, "/readyz").status, 200);
}

#[test]
fn a_gap_is_in_the_log_with_what_followed() {
    let (mut redis, origin) = (Redis::start(&[]), Origin::start());
    let proxy = Proxy::start(origin.address, &listening(&redis.url()));
    redis.kill();
    until("it is gone", || proxy.stderr().contains("nothing is heard on it until it is back").then_some(()));
    redis.restart();
    until("it is back", || connected(&proxy).then_some(()));
    let log = proxy.stderr();
    assert!(log.contains("meanwhile went unheard: everything kept is removed"), "{log}");
    assert_eq!(log.matches("listening to cache:invalidate on redis://127.0.0.1:").count(), 2, "{log}");
}

#[test]
fn channels_are_heard_over_tls_from_a_server_that_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = vec!["localhost".to_owned()];
    let certificate = rcgen::generate_simple_self_signed(name).expect("a certificate");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("cert.pem"), certificate.cert.pem()).expect("written");
    fs::write(at("key.pem"), certificate.signing_key.serialize_pem()).expect("written");
    let authority = at("cert.pem");
    let (redis, tls) = Redis::start_tls(folder);
    let (url, origin) = (format!("rediss://localhost:{tls}"), Origin::start());

    let stranger = Proxy::start(origin.address, &listening(&url));
    assert!(!connected(&stranger) && stranger.stderr().contains("UnknownIssuer"), "{}", stranger.stderr());

    let trusted = [("SSL_CERT_FILE", authority.as_str())];
    let proxy = Proxy::start_with(origin.address, &listening(&url), &trusted);
    assert!(connected(&proxy), "{}", proxy.stderr());
    assert_eq!(redis.publish(CHANNEL, "{"), 1);
    until("it is heard", || (metric(&proxy, "larder_redis_bad_messages_total") == 1).then_some(()));
}

#[test]
fn an_address_that_is_none_is_bad_configuration() {
    for url in ["redis://:s3cret@h:port", "rediss://:s3cret@h#insecure"] {
        let folder = crate::harness::folder();
        fs::write(folder.path().join("larder.yaml"), listening(url)).expect("written");
        let mut command = crate::harness::larder(&folder);
        command.args(["run", "--config", "larder.yaml", "--upstream", "http://127.0.0.1:1"]);
        let ended =
            crate::harness::run(command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]));
        ended.assert(78, &["redis"]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}
