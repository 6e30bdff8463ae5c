//! When a draining instance may be stopped: it takes no new request, and the last one was seen to finish.

use kiln_model::{FleetId, InstanceId, Span, UpgradedDrain};

use crate::view::DataPlane;

/// What to do with a draining instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Stop it: nothing is under way, or the deadline has passed.
    Done,
    /// Its work is not finished; look again at this time at the latest.
    Until(i64),
    /// The data plane still sends it requests.
    Serving,
}

/// Judges an instance that was first seen without new requests at `since_ms`.
pub(crate) fn judge(
    fleet: &FleetId,
    instance: &InstanceId,
    plane: &DataPlane,
    upgraded: UpgradedDrain,
    deadline: Span,
    (since_ms, now_ms): (i64, i64),
) -> Drain {
    if plane.serves(fleet, instance) {
        return Drain::Serving;
    }
    let work = plane.status.in_flight.get(instance).copied().unwrap_or_default();
    // The data plane closes upgraded connections itself where the policy says so.
    let left = match upgraded {
        UpgradedDrain::Wait => work.requests + work.upgraded,
        UpgradedDrain::Close => work.requests,
    };
    let end = since_ms.saturating_add_unsigned(deadline.millis());
    if left == 0 || now_ms >= end { Drain::Done } else { Drain::Until(end) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_proxy::{InFlight, Status};

    use super::*;

    #[test]
    fn waits_for_the_last_request_or_the_deadline() {
        let fleet: FleetId = "dev/web/1".parse().unwrap();
        let id = InstanceId("web-1-a".into());
        let judged = |requests, upgraded, policy, now| {
            let in_flight = BTreeMap::from([(id.clone(), InFlight { requests, upgraded })]);
            let plane =
                DataPlane { status: Status { in_flight, ..Status::default() }, ..DataPlane::default() };
            judge(&fleet, &id, &plane, policy, Span::from_secs(30), (1_000, now))
        };
        assert_eq!(judged(0, 0, UpgradedDrain::Wait, 1_000), Drain::Done);
        assert_eq!(judged(1, 0, UpgradedDrain::Close, 1_000), Drain::Until(31_000));
        assert_eq!(judged(0, 1, UpgradedDrain::Wait, 1_000), Drain::Until(31_000));
        assert_eq!(judged(0, 1, UpgradedDrain::Close, 1_000), Drain::Done);
        assert_eq!(judged(7, 7, UpgradedDrain::Wait, 31_000), Drain::Done);
    }
}
