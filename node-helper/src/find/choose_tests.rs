//! A small node, and what is asked of it.

use kpexec_protocol::Target;

use super::*;

/// `POD/NAMESPACE/CONTAINER` with an ID; the pod's UID is its name and a mark.
fn known(path: &str, id: &str, created_at: i64) -> Known {
    let parts: Vec<&str> = path.split('/').collect();
    let target = Target {
        pod_name: parts[0].into(),
        pod_namespace: parts[1].into(),
        pod_uid: format!("uid-of-{}", parts[0]),
        container_name: parts[2].into(),
        container_id: id.into(),
    };
    Known { target, running: true, created_at }
}

fn node() -> Vec<Known> {
    let mut all = vec![
        known("web/prod/app", "aa11", 20),
        known("web/prod/log", "aa22", 10),
        known("db/prod/postgres", "bb33", 30),
        known("db/test/postgres", "cc44", 40),
        known("old/prod/gone", "dd55", 5),
    ];
    all[4].running = false;
    all
}

fn chosen(name: &str, all: &[Known]) -> Result<String, Error> {
    let one = match choose(&Wanted::parse(name)?, all)? {
        Choice::One(one) => one.target.container_id.clone(),
        Choice::Pod(containers) => format!("default of {}", names(&containers)),
    };
    Ok(one)
}

#[test]
fn an_id_its_beginning_or_a_name_is_enough() {
    let all = node();
    for (name, id) in [
        ("aa11", "aa11"),
        ("aa2", "aa22"),
        ("b", "bb33"),
        ("containerd://cc44", "cc44"),
        ("cri-o://cc4", "cc44"),
        ("app", "aa11"),
        ("web/prod/log", "aa22"),
        ("db/prod", "bb33"),
        ("db/test/postgres", "cc44"),
    ] {
        assert_eq!(chosen(name, &all).unwrap(), id, "{name}");
    }
    assert_eq!(chosen("web/prod", &all).unwrap(), "default of log, app");
}

#[test]
fn what_is_ambiguous_is_listed_as_it_can_be_asked_for() {
    let mut all = node();
    all.reverse();
    let error = chosen("postgres", &all).unwrap_err();
    let listed = "db/prod/postgres (bb33), db/test/postgres (cc44)";
    assert_eq!(error.to_string(), format!("postgres is ambiguous: {listed}"));
    assert!(error.hint().contains("POD/NAMESPACE/CONTAINER"), "{}", error.hint());
    assert!(matches!(chosen("aa", &node()), Err(Error::Ambiguous(..))));
    // A name never hides an ID that begins so.
    let mut all = node();
    all.push(known("evil/test/bb", "ee66", 1));
    assert!(matches!(chosen("bb", &all), Err(Error::Ambiguous(..))));
    assert_eq!(chosen("bb33", &all).unwrap(), "bb33");
    let many: Vec<Known> = (0..11).map(|n| known("p/n/c", &format!("f{n:015}"), n)).collect();
    let error = chosen("c", &many).unwrap_err().to_string();
    assert!(error.ends_with(" and 3 more"), "{error}");
    assert_eq!(error.matches("(f000000000000)").count(), 8, "{error}");
}

#[test]
fn two_pods_of_one_name_are_ambiguous() {
    let mut all = node();
    let mut twin = known("db/prod/postgres", "ff77", 50);
    twin.target.pod_uid = "another".into();
    all.push(twin);
    assert!(matches!(chosen("db/prod", &all), Err(Error::Ambiguous(..))));
    assert!(matches!(chosen("db/prod/postgres", &all), Err(Error::Ambiguous(..))));
}

#[test]
fn what_is_not_there_is_told_with_what_is_near() {
    let all = node();
    let of = |name: &str| {
        let error = chosen(name, &all).unwrap_err();
        (error.to_string(), error.hint())
    };
    assert!(of("nothing").1.contains("crictl ps"));
    assert_eq!(of("web").1, "there is a pod of that name: web/prod");
    assert_eq!(of("prod/web").1, "the pod comes first: web/prod");
    assert!(of("no/such").0.contains("pod no of namespace such has no running container"));
    let invalid = "container x is not valid for pod web out of: log, app";
    assert_eq!(of("web/prod/x").0, invalid);
    assert_eq!(of("gone").0, "container gone is not running: it has exited");
    assert!(of("old/prod").0.contains("no running container"));
    for name in ["", "/", "a/", "/a", "a//b", "a/b/c/d", "containerd://"] {
        assert!(matches!(chosen(name, &all), Err(Error::Unreadable(_))), "{name}");
    }
}

#[test]
fn the_default_is_the_annotated_one_else_the_first_that_was_made() {
    let all = node();
    let both = [&all[1], &all[0]];
    let (first, notice) = default_of(&both, None).unwrap();
    assert_eq!(first.target.container_name, "log");
    assert_eq!(notice.unwrap(), "Defaulted container \"log\" out of: log, app");
    let (annotated, notice) = default_of(&both, Some("app")).unwrap();
    assert_eq!((annotated.target.container_name.as_str(), notice), ("app", None));
    assert!(default_of(&both, Some("x")).unwrap_err().to_string().contains("out of: log, app"));
}
