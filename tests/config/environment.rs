//! Variables and flags: what they may say, and who wins.

use std::time::Duration;

use larder::config::{Config, EX_CONFIG, Env, Flags, Report, Source, check_without_env, load, load_str};
use larder::redis::Address;
use larder::redis::place::Where;

use crate::resolve;

const FILE: &str =
    "upstream: http://file:1\nlisten: 127.0.0.1:1\ndefaults: {ttl: 1s}\nroutes: {/a: {}, /b: 2s}\n";

fn source(config: &Config, path: &[&str]) -> Source {
    config.sources.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("{path:?}")).source
}

fn no_file(vars: &[(&str, &str)]) -> Result<Config, Report> {
    // tests run at the top of the crate, where no larder.yaml stands
    load(&Flags::default(), &Env::of(vars.iter().copied()))
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let env = Env::of([("LARDER_UPSTREAM", "http://env:2"), ("LARDER_LISTEN", "127.0.0.1:2")]);
    let flags = Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() };
    let config = load_str("f", FILE, &flags, &env).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(source(&config, &["listen"]), Source::Flag("--listen"));
    assert_eq!(source(&config, &["upstream"]), Source::Env("LARDER_UPSTREAM"));
    assert!(matches!(source(&config, &["defaults", "ttl"]), Source::File(_)));
    assert_eq!(source(&config, &["upgrades"]), Source::Default);
}

#[test]
fn cache_ttl_is_what_routes_inherit_and_no_more() {
    for name in ["CACHE_TTL", "CACHE_DEFAULT_TTL"] {
        let config = resolve(FILE, &Env::of([(name, "60")])).unwrap();
        let ttls: Vec<_> = config.routes.iter().map(|route| route.rule.ttl.unwrap().as_secs()).collect();
        assert_eq!(ttls, [60, 2], "a route that says its ttl keeps it");
        assert_eq!(
            config.unmatched.unwrap().rule.ttl,
            None,
            "what no route matches stays by the origin's word"
        );
    }
    let config = no_file(&[("LARDER_UPSTREAM", "http://a:1")]).unwrap();
    assert!(config.sources.iter().any(|entry| entry.path == ["defaults", "ttl"] && entry.value == "1h"));
}

#[test]
fn everything_works_with_no_file_at_all() {
    let config = no_file(&[
        ("LARDER_UPSTREAM", "http://a:1 http://b:2"),
        ("LARDER_LISTEN", ":9000"),
        ("LARDER_ADMIN_TOKEN", "t0ken"),
        ("CACHE_TTL", "1h30m"),
        ("CACHE_ENABLED", "FALSE"),
        ("CACHE_MAX_ENTRIES", "123"),
        ("ENABLE_BACKGROUND_WARMING", "false"),
        ("PERF_RESPONSE_TIME_TARGET", "200"),
    ])
    .unwrap();
    assert_eq!(config.upstream.origins.len(), 2);
    assert_eq!(config.server.listen.port(), 9000);
    assert_eq!(config.admin.token.as_deref(), Some("t0ken"));
    assert_eq!(config.store.entries, Some(123));
    assert!(!config.flow.enabled);
    assert_eq!(config.monitor.targets.latency, Some(std::time::Duration::from_millis(200)));
    assert!(!config.warm.background);
    assert_eq!(config.file, None);
}

#[test]
fn cache_enabled_takes_true_false_1_0_in_any_case() {
    for (text, enabled) in [("1", true), ("0", false), ("True", true), ("false", false), ("", true)] {
        let env = [("LARDER_UPSTREAM", "http://a:1"), ("CACHE_ENABLED", text)];
        assert_eq!(no_file(&env).unwrap().flow.enabled, enabled, "{text}");
        let file = "upstream: http://a:1\nenabled: ${CACHE_ENABLED:-true}\n";
        assert_eq!(resolve(file, &Env::of(env)).unwrap().flow.enabled, enabled, "{text} by placeholder");
    }
}

#[test]
fn an_invalid_value_is_refused_and_its_variable_named() {
    for (name, value) in [
        ("CACHE_TTL", "abc"),
        ("CACHE_DEFAULT_TTL", "-1"),
        ("CACHE_ENABLED", "yes"),
        ("CACHE_MAX_ENTRIES", "0"),
        ("ENABLE_BACKGROUND_WARMING", "maybe"),
        ("PERF_CACHE_WARMING", "2"),
        ("PERF_RESPONSE_TIME_TARGET", "50ms"),
        ("LARDER_UPSTREAM", "localhost:8000"),
        ("LARDER_LISTEN", "nowhere"),
        ("LARDER_ADMIN_TOKEN", "two words"),
    ] {
        let report = resolve(FILE, &Env::of([(name, value)])).unwrap_err();
        assert!(report.to_string().contains(&format!("{name} (environment)")), "{name}\n{report}");
        assert_eq!(report.problems.len(), 1, "{report}");
        assert!(!report.to_string().contains("two words"), "a token is not shown");
    }
}

#[test]
fn two_names_for_one_thing_must_agree() {
    for (one, other) in
        [("CACHE_TTL", "CACHE_DEFAULT_TTL"), ("ENABLE_BACKGROUND_WARMING", "PERF_CACHE_WARMING")]
    {
        let values = if one == "CACHE_TTL" { ["60", "1m", "2m"] } else { ["true", "1", "false"] };
        assert!(resolve(FILE, &Env::of([(one, values[0]), (other, values[1])])).is_ok());
        let report = resolve(FILE, &Env::of([(one, values[0]), (other, values[2])])).unwrap_err().to_string();
        assert!(report.contains(one) && report.contains(other), "{report}");
    }
}

#[test]
fn redis_url_makes_a_fleet_and_an_empty_one_none() {
    let config = resolve(FILE, &Env::of([("REDIS_URL", "redis://:hunter2@h")])).unwrap();
    let fleet = config.fleet.as_ref().unwrap();
    let at = Where::One(Address::parse("redis://:hunter2@h").unwrap());
    assert_eq!((&fleet.at, fleet.namespace.as_str()), (&at, "larder"));
    assert_eq!((fleet.lease, fleet.ack_timeout), (Duration::from_secs(1), Duration::from_secs(5)));
    assert!(!format!("{config:?}").contains("hunter2") && config.warnings.problems.is_empty());
    let alone = resolve(FILE, &Env::of([("REDIS_URL", "")])).unwrap();
    assert!(alone.fleet.is_none() && alone.warnings.problems.is_empty());
    let cluster =
        resolve(FILE, &Env::of([("REDIS_URL", "redis://:hunter2@a redis://:hunter2@b:7000")])).unwrap();
    let nodes = ["redis://:hunter2@a", "redis://:hunter2@b:7000"].map(|url| Address::parse(url).unwrap());
    assert_eq!(cluster.fleet.unwrap().at, Where::Cluster(nodes.to_vec()));
}

#[test]
fn without_file_flag_or_variable_the_missing_upstream_is_explained() {
    let report = no_file(&[]).unwrap_err().to_string();
    for part in ["upstream", "LARDER_UPSTREAM", "--upstream", "larder.yaml"] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    assert_eq!(EX_CONFIG, 78);
}

#[test]
fn a_bad_flag_is_named() {
    let flags = Flags {
        upstream: vec!["localhost".into()],
        listen: Some("x".into()),
        admin_listen: Some("y".into()),
        ..Flags::default()
    };
    let report = load_str("f", FILE, &flags, &Env::default()).unwrap_err().to_string();
    for flag in ["--upstream: ", "--listen: ", "--admin-listen: "] {
        assert!(report.contains(flag), "{report}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let flags = Flags { config: Some("/nonexistent/larder.yaml".into()), ..Flags::default() };
    let report = load(&flags, &Env::default()).unwrap_err().to_string();
    assert!(report.contains("/nonexistent/larder.yaml") && report.contains("--config"), "{report}");
    let env = Env::of([("LARDER_CONFIG", "/nonexistent/other.yaml")]);
    let report = load(&Flags::default(), &env).unwrap_err().to_string();
    assert!(report.contains("/nonexistent/other.yaml") && report.contains("LARDER_CONFIG"), "{report}");
}

#[test]
fn a_file_that_is_not_utf8_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"# a\n\xc3\xbc: \xff\n").unwrap();
    let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
    let report = load(&flags, &Env::default()).unwrap_err().to_string();
    assert!(report.contains("not UTF-8 at line 2, column 4"), "{report}");
}

#[test]
fn of_a_file_without_end_no_more_is_read_than_a_configuration_may_have() {
    let flags = Flags { config: Some("/dev/zero".into()), ..Flags::default() };
    let report = load(&flags, &Env::default()).unwrap_err().to_string();
    assert!(
        report.contains("the configuration file /dev/zero cannot be read: it is larger than 4 MiB"),
        "{report}"
    );
}

#[test]
fn placeholders_work_in_typed_values() {
    let file = "upstream: ${U:-http://a:1}\nlisten: 127.0.0.1:${PORT:-8080}\nenabled: ${E:-true}\n\
                limits: {entry: \"${S:-1MiB}\", connections: \"${N}\"}\ndefaults: {ttl: \"${T:-1m}\"}\nroutes: {/a: {}}\n\
                hosts: ${HOSTS:-}\n";
    let env = Env::of([("PORT", "81"), ("N", "7"), ("T", "2m")]);
    let config = resolve(file, &env).unwrap();
    assert_eq!(config.server.listen.port(), 81);
    assert_eq!(config.server.connections, 7);
    assert_eq!(config.routes[0].entry, 1 << 20);
    assert_eq!(config.routes[0].rule.ttl, Some(Duration::from_secs(120)));
    assert!(config.hosts.is_empty(), "what a placeholder leaves empty was not said");
}

#[test]
fn an_unset_variable_is_an_error_that_names_it_and_its_line() {
    let report =
        resolve("upstream: http://a:1\nlisten: ${LISTEN_AT}\n", &Env::default()).unwrap_err().to_string();
    assert!(report.contains("LISTEN_AT is not set") && report.contains("larder.yaml:2:9"), "{report}");
}

#[test]
fn without_an_environment_variables_are_neither_asked_nor_missed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "upstream: ${A}\nroutes: {/a: \"${B:?}\", /b: 1m}\nlisten: ${C:-nowhere}\n")
        .unwrap();
    let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
    let report = check_without_env(&flags).unwrap_err();
    assert_eq!(report.problems.len(), 1, "only the bad default is wrong: {report}");
    assert!(report.to_string().contains("nowhere"));
}

#[test]
fn memory_is_the_lesser_of_512_mib_and_half_the_limit() {
    let memory = |env: Env| resolve(FILE, &env).unwrap().store.memory;
    assert_eq!(memory(Env::default()), 512 << 20);
    assert_eq!(memory(Env::default().with_memory_limit(4 << 30)), 512 << 20);
    assert_eq!(memory(Env::default().with_memory_limit(256 << 20)), 128 << 20);
}
