//! What becomes of a packet, and why.

use lb_common::Outcome;

/// What the hook does with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Give it to the kernel's network stack.
    Pass,
    /// Drop it.
    Drop,
    /// Send it out of the device it came in by.
    Transmit,
    /// Send it out of the device of the verdict.
    Redirect,
    /// Send it out of the device of the verdict after the kernel has resolved the neighbour.
    Resolve,
    /// Answer it with an ICMP error. Never leaves the engine, which makes it `Transmit` or `Drop`.
    Reject,
}

/// An action, the reason that is counted, and the device where the action needs one.
///
/// All three share one word, because a BPF function returns one register, and because an enum with undefined bytes
/// makes the compiler copy whatever a register holds, which the verifier refuses when that is a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Verdict(u64);

impl Verdict {
    /// Not a verdict yet: the packet is the first of a flow.
    pub(crate) const FIRST: Self = Self(u64::MAX);

    /// Not a verdict yet: the packet must be read more closely.
    pub(crate) const UNUSUAL: Self = Self(u64::MAX - 1);
    /// Not a verdict yet: the packet is an ICMP message.
    pub(crate) const ICMP: Self = Self(u64::MAX - 2);

    /// Hands the packet to the kernel.
    #[inline(always)]
    pub const fn pass(outcome: Outcome) -> Self {
        Self::new(Action::Pass, outcome, 0)
    }

    /// Drops the packet.
    #[inline(always)]
    pub const fn drop(outcome: Outcome) -> Self {
        Self::new(Action::Drop, outcome, 0)
    }

    /// Drops the packet and answers with an ICMP error, as far as their rate allows.
    #[inline(always)]
    pub(crate) const fn reject(outcome: Outcome) -> Self {
        Self::new(Action::Reject, outcome, 0)
    }

    /// Rejects a packet that is larger than the way out takes.
    #[inline(always)]
    pub(crate) const fn too_big(mtu: u16) -> Self {
        Self::new(Action::Reject, Outcome::TooBig, mtu as u32)
    }

    /// An action by way of a device, or of none when `ifindex` is zero.
    #[inline(always)]
    pub const fn new(action: Action, outcome: Outcome, ifindex: u32) -> Self {
        Self(((ifindex as u64) << 32) | ((action as u64) << 16) | outcome.index() as u64)
    }

    /// The same outcome by another action.
    #[inline(always)]
    pub(crate) const fn by(self, action: Action, ifindex: u32) -> Self {
        Self(((ifindex as u64) << 32) | ((action as u64) << 16) | (self.0 & 0xffff))
    }

    /// What to do.
    #[inline(always)]
    pub const fn action(self) -> Action {
        match (self.0 >> 16) & 0xff {
            1 => Action::Drop,
            2 => Action::Transmit,
            3 => Action::Redirect,
            4 => Action::Resolve,
            5 => Action::Reject,
            _ => Action::Pass,
        }
    }

    /// Index of the outcome in `COUNTERS`.
    #[inline(always)]
    pub const fn outcome_index(self) -> u32 {
        (self.0 & 0xffff) as u32
    }

    /// Whether the packet was given the addresses of a flow.
    #[inline(always)]
    pub const fn is_translated(self) -> bool {
        const TRANSLATED: u64 = 1 << Outcome::Local as u64
            | 1 << Outcome::Transmitted as u64
            | 1 << Outcome::Redirected as u64
            | 1 << Outcome::Resolved as u64
            | 1 << Outcome::Replied as u64;
        TRANSLATED >> (self.outcome_index() & 63) & 1 != 0
    }

    /// Why.
    pub fn outcome(self) -> Outcome {
        Outcome::ALL.get(self.outcome_index() as usize).copied().unwrap_or(Outcome::Malformed)
    }

    /// Index of the outgoing device; zero where the action names none.
    #[inline(always)]
    pub const fn ifindex(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl core::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Verdict")
            .field("action", &self.action())
            .field("outcome", &self.outcome())
            .field("ifindex", &self.ifindex())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_gives_its_parts_back() {
        for action in
            [Action::Pass, Action::Drop, Action::Transmit, Action::Redirect, Action::Resolve, Action::Reject]
        {
            for outcome in Outcome::ALL {
                let verdict = Verdict::new(action, *outcome, u32::MAX);
                assert_eq!(
                    (verdict.action(), verdict.outcome(), verdict.ifindex()),
                    (action, *outcome, u32::MAX)
                );
            }
        }
    }
}
