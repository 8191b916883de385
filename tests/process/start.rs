//! Starting: ports that are taken, an origin that is absent, flags that do not exist, the demo.

use std::net::TcpListener;

use crate::harness::{Origin, Proxy, folder, free_port, full, get, larder, run};

#[test]
fn an_occupied_port_is_a_clear_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let free = format!("127.0.0.1:{}", free_port());
    for (listen, admin) in [(&taken, &free), (&free, &taken)] {
        let folder = folder();
        let mut command = larder(&folder);
        command.args([
            "run",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            listen,
            "--admin-listen",
            admin,
        ]);
        run(&mut command).assert(1, &[&taken, "in use"]);
    }
}

#[test]
fn an_absent_upstream_is_a_warning_then_a_502_and_works_once_it_appears() {
    let port = free_port();
    let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let proxy = Proxy::start(upstream, "routes: {}\nshutdown: { delay: 0s }\n");
    let refused = get(proxy.listen, "/");
    assert_eq!(refused.status, 502, "{refused:?}");
    assert!(refused.head.contains("content-type: application/problem+json"), "{refused:?}");
    assert!(refused.body.contains("\"status\":502"), "{refused:?}");
    assert!(proxy.stderr().contains(&upstream.to_string()), "no warning:\n{}", proxy.stderr());
    let _origin = Origin::start_at(port);
    crate::harness::until("the upstream is found", || (get(proxy.listen, "/").status == 200).then_some(()));
}

#[cfg(not(feature = "otlp"))]
#[test]
fn traces_that_are_asked_for_of_a_binary_without_them_are_one_sentence() {
    let origin = Origin::start();
    let config = "routes: {}\nshutdown: { delay: 0s }\n";
    for (variables, sentences) in [
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")][..], 1),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "what is no URL")], 1),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_SDK_DISABLED", "true")], 0),
        (&[("OTEL_SERVICE_NAME", "api")], 0),
    ] {
        let proxy = Proxy::start_with(origin.address, config, variables);
        assert_eq!(get(proxy.listen, "/").status, 200);
        assert_eq!(proxy.stderr().matches("--features otlp").count(), sentences, "{variables:?}");
        assert_eq!(proxy.stderr().matches(variables[0].0).count(), sentences);
    }
}

#[test]
fn a_full_disk_under_the_diagnostics_stops_nothing() {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    // A warning while the file is read, of the absent upstream, and of each hangup.
    let proxy =
        Proxy::start_mute(nowhere, "routes: { /x: 1h }\nwrites: { POST /x: t }\nshutdown: { delay: 0s }\n");
    for _ in 0..3 {
        proxy.signal("HUP");
        assert_eq!(get(proxy.listen, "/x").status, 502);
    }
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
}

#[test]
fn where_no_complaint_can_be_written_the_exit_code_tells() {
    for (line, code) in [
        ("run", 78),
        ("run --upstream http://localhost:1 --listen 192.0.2.1:1", 1),
        ("purge a --admin 127.0.0.1:1", 1),
        ("purge", 2),
    ] {
        let ended = larder(&folder()).args(line.split(' ')).stderr(full()).output().expect("larder starts");
        assert_eq!(ended.status.code(), Some(code), "{line}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    run(larder(&folder()).args(["run", "--no-such-flag"])).assert(2, &["--no-such-flag"]);
    run(larder(&folder()).arg("no-such-command")).assert(2, &["no-such-command"]);
}

#[test]
fn help_and_version_are_data_on_stdout() {
    let help = run(larder(&folder()).arg("--help"));
    help.assert(0, &[]);
    assert!(["run", "demo", "config"].iter().all(|command| help.stdout.contains(command)), "{help:#?}");
    let version = run(larder(&folder()).arg("--version"));
    assert_eq!(version.stdout.trim(), concat!("larder ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_demo_plays_its_story_and_exits() {
    let demo = run(larder(&folder()).args(["demo", "--once"]));
    demo.assert(0, &[]);
    for told in
        ["/api/projects", "another project: ", "larder explain ", "dropped by PUT|PATCH|DELETE", "removed "]
    {
        assert!(demo.stdout.contains(told), "{told}: {demo:#?}");
    }
}
