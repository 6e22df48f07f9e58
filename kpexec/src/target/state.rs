//! What a container does that does not run, and what to try. Pure.

use crate::report;
use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodStatus,
};

/// A container that cannot be entered now.
#[derive(Debug, PartialEq, Eq)]
pub struct Idle {
    /// What it does instead of running.
    pub state: String,
    /// What to try.
    pub hint: String,
}

/// The status of a container of whatever kind.
pub fn status_of<'a>(status: &'a PodStatus, container: &str) -> Option<&'a ContainerStatus> {
    let all = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    all.into_iter().flatten().flatten().find(|status| status.name == container)
}

/// What it does instead of running; none if it runs.
pub fn idle(pod: &Pod, container: &str) -> Option<Idle> {
    let scene = Scene { pod, container };
    let empty = PodStatus::default();
    let all = pod.status.as_ref().unwrap_or(&empty);
    let Some(status) = status_of(all, container) else {
        let state = "its node has not reported it yet".into();
        return Some(Idle { state, hint: scene.hint(scene.describe()) });
    };
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() {
        return None;
    }
    Some(match state.terminated {
        Some(ended) => {
            let hint = scene.after(&ended);
            Idle { state: ending(&ended), hint: scene.hint(hint) }
        }
        None => {
            let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
            let (state, hint) = scene.waiting(&state.waiting.unwrap_or_default(), last);
            Idle { state, hint: scene.hint(hint) }
        }
    })
}

/// The first container that has failed, and how.
pub fn failed(status: &PodStatus) -> Option<String> {
    let all = [&status.init_container_statuses, &status.container_statuses];
    all.into_iter().flatten().flatten().find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        let failed = ended.exit_code != 0;
        failed.then(|| format!("container {}: {}", container.name, ending(ended)))
    })
}

/// What became of a container that has ended: code, reason, and when.
fn ending(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("terminated");
    let mut text = format!("{reason}, {}", code(ended));
    if let Some(message) = ended.message.as_deref().filter(|message| !message.is_empty()) {
        // It may be much of what the container has logged.
        text.push_str(&format!(": {}", report::first_line(message)));
    }
    text
}

fn code(ended: &ContainerStateTerminated) -> String {
    let mut text = match ended.signal.filter(|signal| *signal != 0) {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit code {}", ended.exit_code),
    };
    if let Some(at) = &ended.finished_at {
        text.push_str(&format!(" at {}", at.0));
    }
    text
}

/// A container of a pod.
struct Scene<'a> {
    pod: &'a Pod,
    container: &'a str,
}

impl Scene<'_> {
    /// A pod that is being deleted starts nothing any more, whatever it was.
    fn hint(&self, otherwise: String) -> String {
        match self.pod.metadata.deletion_timestamp {
            Some(_) => "the pod is being deleted, so it will not run again".into(),
            None => otherwise,
        }
    }

    fn after(&self, ended: &ContainerStateTerminated) -> String {
        let spec = self.pod.spec.as_ref();
        let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref());
        if ephemeral.into_iter().flatten().any(|one| one.name == self.container) {
            return "an ephemeral container runs once; -c names another container".into();
        }
        match ended.reason.as_deref() {
            Some("OOMKilled") => "its memory limit was too low for what it did".into(),
            _ if self.is_init() && ended.exit_code == 0 => {
                "an init container runs once; -c names another container".into()
            }
            _ => format!("what it said: {}", self.logs("")),
        }
    }

    fn waiting(
        &self,
        waiting: &ContainerStateWaiting,
        last: Option<&ContainerStateTerminated>,
    ) -> (String, String) {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        let message = waiting.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let with_message = || match message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        };
        match (reason, last) {
            ("PodInitializing", None) => match self.awaited() {
                Some((name, state, runs)) => {
                    let hint =
                        if runs { format!("-c {name} enters that one") } else { self.describe() };
                    (format!("{reason}: init container {name} comes first, which {state}"), hint)
                }
                None => (with_message(), self.describe()),
            },
            (reason, _) if is_pull(reason) => {
                let image = self.image().unwrap_or("the image");
                let hint = format!("is {image} there under that name, and may the node pull it?");
                (with_message(), hint)
            }
            // Its message tells only how long the kubelet waits.
            (_, Some(last)) => {
                let why = last.reason.as_deref().unwrap_or("terminated");
                let state = format!("{reason}, last {} ({why})", code(last));
                // It never ran, and so has no logs.
                if why == "StartError" {
                    let message = last.message.as_deref().map(report::first_line);
                    let message = message.unwrap_or_default();
                    return (format!("{state}: {message}"), self.describe());
                }
                (state, format!("why it ended: {}", self.logs(" --previous")))
            }
            _ => (with_message(), self.describe()),
        }
    }

    /// The init container that the others wait for, what it does, and whether it runs.
    fn awaited(&self) -> Option<(&str, String, bool)> {
        let status = self.pod.status.as_ref()?;
        self.init().find_map(|init| {
            let found = status_of(status, &init.name);
            let sidecar = init.restart_policy.as_deref() == Some("Always");
            if sidecar && found.and_then(|found| found.started) == Some(true) {
                return None;
            }
            let state = found.and_then(|found| found.state.clone()).unwrap_or_default();
            let last = found.and_then(|found| found.last_state.as_ref()?.terminated.as_ref());
            match (state.running, state.terminated, state.waiting) {
                (Some(_), ..) => Some((&*init.name, "runs".into(), true)),
                (_, Some(ended), _) if ended.exit_code == 0 => None,
                (_, Some(ended), _) => {
                    Some((&*init.name, format!("ended: {}", ending(&ended)), false))
                }
                (.., waiting) => {
                    let reason = waiting.and_then(|waiting| waiting.reason);
                    let mut state =
                        format!("waits: {}", reason.as_deref().unwrap_or("not started"));
                    if let Some(last) = last {
                        state.push_str(&format!(", last {}", code(last)));
                    }
                    Some((&*init.name, state, false))
                }
            }
        })
    }

    fn init(&self) -> impl Iterator<Item = &Container> {
        self.pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten())
    }

    fn is_init(&self) -> bool {
        self.init().any(|one| one.name == self.container)
    }

    fn image(&self) -> Option<&str> {
        let spec = self.pod.spec.as_ref()?;
        let regular = spec.containers.iter().chain(self.init());
        let regular = regular.map(|one| (&one.name, &one.image));
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        let mut all = regular.chain(ephemeral.map(|one| (&one.name, &one.image)));
        all.find(|(name, _)| *name == self.container)?.1.as_deref()
    }

    fn describe(&self) -> String {
        format!("kubectl describe pod {} tells more", self.pod_name())
    }

    fn logs(&self, flag: &str) -> String {
        format!("kubectl logs {} -c {}{flag}", self.pod_name(), self.container)
    }

    /// As kubectl is told it.
    fn pod_name(&self) -> String {
        named(self.pod)
    }
}

/// `NAME -n NAMESPACE`, as kubectl is told it.
pub fn named(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    format!("{name} -n {namespace}")
}

fn is_pull(reason: &str) -> bool {
    ["ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"].contains(&reason)
        || reason == "ImageInspectError"
}

/// What a pod does, in a word or two, as kubectl lists it.
pub fn in_words(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let statuses = [&status.init_container_statuses, &status.container_statuses];
    let mut reasons = statuses.into_iter().flatten().flatten().filter_map(|one| {
        let waiting = one.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        (waiting != "PodInitializing").then_some(waiting)
    });
    let ready =
        status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    let phase = status.phase.as_deref().unwrap_or("Unknown");
    match status.reason.as_deref().or_else(|| reasons.next()) {
        Some(reason) => reason.to_owned(),
        None if phase == "Running" && !ready => "Running, not ready".into(),
        None => phase.to_owned(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
