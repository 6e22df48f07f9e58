//! Runs a session from the command's start to its end.

use std::time::Duration;

use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{Exit, Started};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::audience::{Audience, Forsaken};
use super::begin::Running;
use super::command::Command;
use super::last_word::{
    Told, exit, failure, how, in_doubt, is_possible, killed_from_outside, last_word, pod_ends,
};
use super::outlet::{Kept, Outlet};
use super::pumps::Pumps;
use super::sessions::Registered;
use super::view::View;
use super::{Answers, Client, Context, say};
use crate::failure::chain;
use crate::sys::call::give_back_memory;
use crate::sys::start::EXIT_STATUS_SIZE;

/// What the command left behind when it ended by itself is not wanted: it gets
/// a moment to see that its terminal is gone.
const LEFT_BEHIND: [(Signal, Duration); 1] = [(Signal::HUP, Duration::from_millis(200))];

/// What a command gets whose client has gone, as from a terminal hung up.
fn hang_up(grace: Duration) -> [(Signal, Duration); 2] {
    [(Signal::HUP, grace), (Signal::TERM, grace)]
}

/// How long the shim's end may lag behind the command's, where both are one
/// event: the container stopped.
const SAME_EVENT: Duration = Duration::from_millis(20);

/// How long the target's first process may take to end once all others of its
/// PID namespace have: pid_namespaces(7).
const TARGET_END: Duration = Duration::from_secs(1);

/// Runs the session to its end and tells the client how that was.
pub(super) async fn relay(
    context: &Context,
    running: Running,
    client: Client,
    registered: Registered,
    keep: Option<Duration>,
) {
    let Running { shim, streams, mut exit_status, target, view, started } = running;
    let started = Started { session: registered.name().to_owned(), ..started };
    if !say(&client.answers, Kind::Started(started)).await {
        shim.end(&context.procfs, &hang_up(context.grace)).await;
        return;
    }
    // Much of it was for the beginning, and a session may be idle for hours.
    give_back_memory();
    let outlet = match keep {
        Some(_) => Outlet::Kept(Kept::start(client.answers.clone())),
        None => Outlet::Direct(client.answers.clone()),
    };
    let Pumps { output, ended: drained, inlets } = Pumps::start(streams, &outlet);
    let saved_to = keep.is_none().then(|| client.answers.clone());
    let mut audience = Audience::new(context, shim.pid, client, outlet, inlets, registered, keep);
    let command = Command::find(&context.procfs, shim.pid);
    let told = tokio::select! {
        status = wait_status(&mut exit_status) => status.map_or(Told::Nothing, Told::Status),
        () = command.ended_untold() => Told::TooLate,
        forsaken = audience.until_forsaken() => {
            if forsaken == Forsaken::PodEnds {
                audience.say_now(pod_ends(context.own_pod.as_deref()));
            }
            shim.end(&context.procfs, &hang_up(context.grace)).await;
            return;
        }
    };
    let forged = matches!(told, Told::Status(_)) && command.runs();
    let with_target = told.may_come_from_the_targets_end() && shim.ends_within(SAME_EVENT).await;
    let all_gone = shim.end(&context.procfs, &LEFT_BEHIND).await;
    audience.command_has_ended();
    drained.send_replace(true);
    let all_read = async {
        // How fast the client takes the rest is its own choice.
        for pump in output {
            let _client_gone = pump.await;
        }
    };
    tokio::select! {
        () = all_read => {}
        _forsaken = audience.until_forsaken() => return,
    }
    let last = match told {
        Told::TooLate => in_doubt("was withheld"),
        Told::Status(status) if !is_possible(status) => {
            in_doubt("was forged: no process ends like that")
        }
        Told::Status(_) if forged => in_doubt("was forged: the command still ran"),
        Told::Status(status) if !with_target => match last_word(exit(status), all_gone) {
            Kind::Exit(exit) => conclude(exit, view, saved_to).await,
            failure => failure,
        },
        _ => killed_from_outside(target.ends_within(TARGET_END).await),
    };
    audience.say_last(last).await;
}

/// Says what else there is to say before the command's end.
async fn conclude(exit: Exit, view: View, saved_to: Option<Answers>) -> Kind {
    match view.conclude(saved_to).await {
        Ok(notices) => Kind::Exit(Exit { notices, ..exit }),
        Err(error) => failure(&format!("{}; the command ended {}", chain(&error), how(&exit)), ""),
    }
}

/// Waits for the command's end; `None` if the shim ended without telling.
async fn wait_status(exit_status: &mut Receiver) -> Option<i32> {
    let mut status = [0; EXIT_STATUS_SIZE];
    exit_status.read_exact(&mut status).await.ok()?;
    Some(i32::from_ne_bytes(status))
}
