use super::*;

fn parse(text: &str) -> ListenAddress {
    text.parse().unwrap()
}

fn refused(text: &str) -> String {
    text.parse::<ListenAddress>().unwrap_err().to_string()
}

#[test]
fn every_transport_is_read() {
    assert_eq!(parse("stdio").endpoint, Endpoint::Stdio);
    assert_eq!(parse("unix:a,,b").endpoint, Endpoint::Unix("a,b".into()));
    let tcp = |host: &str, port| Endpoint::Tcp {
        host: host.to_owned(),
        port,
    };
    assert_eq!(parse("tcp:127.0.0.1:4444").endpoint, tcp("127.0.0.1", 4444));
    assert_eq!(parse("tcp:[::1]:0").endpoint, tcp("::1", 0));
    assert_eq!(parse("fd:3").endpoint, Endpoint::Descriptor(3));
    assert_eq!(parse("systemd").endpoint, Endpoint::Systemd(None));
    let named = Endpoint::Systemd(Some("qmp".to_owned()));
    assert_eq!(parse("systemd:qmp,protocol=json-rpc").endpoint, named);
}

#[test]
fn options_are_qemus() {
    assert!(parse("unix:a,server=on,wait=on,protocol=qmp").waits());
    assert!(!parse("unix:a,server,nowait,mode=control").waits());
    for waits in [
        "unix:a,server",
        "unix:a,server=on",
        "tcp::1,server=yes",
        "fd:3,server,nodelay",
    ] {
        assert!(parse(waits).waits(), "{waits}");
    }
    for not in [
        "unix:a,server,wait=off",
        "unix:a,nowait,server",
        "unix:a,wait=off,server=on",
    ] {
        assert!(!parse(not).waits(), "{not}");
    }
    let off = "unix:a,nodelay=on,nodelay,delay=off,telnet=off,notelnet,websocket=n,mux=false,abstract=off,tight=on";
    assert_eq!(parse(off), parse("unix:a"));
    assert!(!parse("unix:a").waits());
    assert!(parse("tcp:0.0.0.0:1,allow-remote=on").allow_remote);
    let limited = parse("unix:a,max-clients=2,max-output=65536");
    assert_eq!(
        (limited.max_clients, limited.max_output),
        (Some(2), Some(65536))
    );
}

#[test]
fn wrong_use_names_the_thing() {
    assert_eq!(
        refused("unix:a,wiat=on"),
        "unknown key 'wiat'; did you mean 'wait'?"
    );
    assert_eq!(refused("unix:a,zzzzzzzzz"), "unknown key 'zzzzzzzzz'");
    assert_eq!(
        refused("unix:a,wait=maybe"),
        "'wait' does not take 'maybe': expected on or off"
    );
    for none in ["", "x", "-1", "2", "99999999999"] {
        assert_eq!(
            refused(&format!("fd:{none}")),
            format!("'{none}' is no descriptor: expected fd:N with a number from 3 on")
        );
    }
    assert_eq!(
        refused("stdio,protocol=json"),
        "'protocol' does not take 'json': expected qmp or json-rpc"
    );
    assert_eq!(
        refused("unix:a,max-clients=0"),
        "'max-clients' does not take '0': expected a number from 1 on"
    );
    assert_eq!(
        refused("tcp:localhost"),
        "'tcp:localhost' needs a port: tcp:HOST:PORT"
    );
    assert_eq!(
        refused("tcp::70000"),
        "'70000' is no port: expected a number from 0 to 65535"
    );
    assert_eq!(refused("unix:"), "'unix:' needs a path");
    assert!(refused("/tmp/x").starts_with("'/tmp/x' is no address"));
    let long = format!("unix:/{}", "x".repeat(PATH_LIMIT));
    assert!(refused(&long).contains("is too long: 108 bytes"));
    assert!(long[..long.len() - 1].parse::<ListenAddress>().is_ok());
}

#[test]
fn a_path_may_stand_under_its_name_as_in_qemu() {
    for text in [
        "unix:path=x.sock",
        "unix:server=on,wait=off,path=x.sock",
        "unix:y,path=x.sock",
    ] {
        assert_eq!(
            parse(text).endpoint,
            Endpoint::Unix("x.sock".into()),
            "{text}"
        );
    }
    assert_eq!(
        parse("unix:path=/a=b,,c").endpoint,
        Endpoint::Unix("/a=b,c".into())
    );
    assert_eq!(
        refused("unix:/run/a=b"),
        "a path that has a '=' is written 'unix:path=/run/a=b'"
    );
    assert_eq!(
        refused("unix:pth=x"),
        "unknown key 'pth'; did you mean 'path'?"
    );
    for none in ["unix:path=", "unix:server=on", "unix:,wait=on"] {
        assert_eq!(refused(none), "'unix:' needs a path");
    }
}

#[test]
fn the_family_and_the_ports_of_tcp_can_be_chosen() {
    let family = |options: &str| {
        let family = parse(&format!("tcp:localhost:1{options}")).family;
        ["127.0.0.1", "::1"].map(|address| family.contains(address.parse().unwrap()))
    };
    assert_eq!(family(""), [true, true]);
    assert_eq!(family(",ipv4=on"), [true, false]);
    assert_eq!(family(",ipv4=off"), [false, true]);
    assert_eq!(family(",ipv6"), [false, true]);
    assert_eq!(family(",ipv6=off"), [true, false]);
    assert_eq!(family(",ipv4=on,ipv6=on"), [true, true]);
    assert_eq!(
        refused("tcp:localhost:1,ipv4=off,ipv6=off"),
        "ipv4=off and ipv6=off leave nothing to listen on"
    );
    assert_eq!(parse("tcp::5,to=7").last_port, Some(7));
    assert_eq!(refused("tcp::5,to=4"), "'to=4' is no port after 5");
    assert_eq!(refused("tcp::0,to=4"), "'to=4' is no port after 0");
    assert_eq!(refused("unix:a,to=4"), "'to' is for tcp: only");
    assert_eq!(refused("tcp::5,path=a"), "'path' is for unix: only");
}

#[test]
fn unsupported_options_of_qemu_are_refused_with_the_alternative() {
    for (option, instead) in [
        (
            "server=off",
            "Faultvisor listens; a socket that is connected can be passed as fd:N",
        ),
        (
            "noserver",
            "Faultvisor listens; a socket that is connected can be passed as fd:N",
        ),
        ("nodelay=off", "answers are sent at once"),
        ("nodelay=n", "answers are sent at once"),
        ("delay=on", "answers are sent at once: use nodelay=on"),
        ("telnet", "clients speak QMP on the bare socket"),
        ("websocket=on", "clients speak QMP on the bare socket"),
        (
            "reconnect=1",
            "clients connect to Faultvisor: use server=on",
        ),
        ("tls-creds=tls0", "forward a unix socket by ssh(1)"),
        ("abstract=on", "use the path of a file, which has an owner"),
    ] {
        assert_eq!(
            refused(&format!("unix:a,{option}")),
            format!("'{option}' is not supported: {instead}")
        );
    }
}
