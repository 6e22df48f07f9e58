//! An identity in words, for the operator.

use kpexec_protocol::profile::{Capabilities, SHIELD};

use super::{Guard, Helper, Identity};

impl Identity {
    /// One line that says who the session is and how it is confined.
    pub fn describe(&self, helper: &Helper) -> String {
        let who = &self.credentials;
        let mut text = self.user();
        let own = self.own_capabilities();
        text += ", capabilities: ";
        text += if own == 0 { "none".to_owned() } else { names(own) }.as_str();
        if own != who.capabilities {
            text += &format!(", {} as a shield", names(SHIELD));
        }
        if self.no_new_privs {
            text += ", no new privileges";
        }
        text += if self.target_filter {
            ", seccomp: the container's"
        } else if helper.filtered {
            ", seccomp: the runtime's"
        } else {
            ", seccomp: none"
        };
        text +=
            if self.target_label { ", label: the container's" } else { ", label: the helper's" };
        if !helper.own_keyring {
            text += ", keyring: the helper's";
        }
        text
    }
}

impl Identity {
    /// The same in a few words.
    pub fn summary(&self) -> String {
        let capabilities = match self.own_capabilities().count_ones() {
            0 => "no capabilities".to_owned(),
            1 => "1 capability".to_owned(),
            count => format!("{count} capabilities"),
        };
        format!("{}, {capabilities}", self.user())
    }

    /// Without the one that is there as a shield only.
    fn own_capabilities(&self) -> Capabilities {
        let shield = if self.guard == Guard::Shield { SHIELD } else { 0 };
        self.credentials.capabilities & !shield
    }

    fn user(&self) -> String {
        let who = &self.credentials;
        let mut text = format!("uid {}, gid {}", who.uid, who.gid);
        if !who.groups.is_empty() {
            let groups: Vec<String> = who.groups.iter().map(u32::to_string).collect();
            text += &format!(", groups {}", groups.join(" "));
        }
        text
    }
}

impl Identity {
    /// What the operator should know about it, each one line.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if self.guard == Guard::None {
            notices
                .push("processes of the container can watch and control this session".to_owned());
        }
        if self.withheld != 0 {
            notices.push(format!("this node does not give: {}", names(self.withheld)));
        }
        notices
    }
}

/// Names of capabilities as Kubernetes writes them, by number; a number where
/// this build knows no name.
pub(super) fn names(set: Capabilities) -> String {
    let known = caps::all();
    let name = |bit: u64| {
        let found = known.iter().find(|capability| capability.bitmask() == bit);
        found.map_or_else(
            || format!("number {}", bit.trailing_zeros()),
            |capability| capability.to_string().trim_start_matches("CAP_").to_owned(),
        )
    };
    let bits = (0..u64::BITS).map(|number| 1 << number).filter(|bit| set & bit != 0);
    bits.map(name).collect::<Vec<_>>().join(" ")
}
