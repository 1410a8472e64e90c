//! openclaw#68766, the other half: for 8.5 hours nothing was received, and status and `doctor` said that all was well.
//!
//! Here status, doctor, readiness and log are compared with the platform's own view at every minute of such a night:
//! what is wrong, since when, and when the next attempt is made.

use std::collections::VecDeque;
use std::time::Duration;

use moorline_core::{AccountState, Timestamp};
use moorline_runtime::{Finding, FindingKind as Kind};
use moorline_simulator::feishu::{Answer, Cut, Fault, HandshakeFault, Times};
use moorline_tests::{Logs, Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// How often the platform's own view is taken.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The time within which a loss that makes no noise is noticed: a ping interval, its pong, and the look itself.
const SILENCE: Duration = Duration::from_secs(41);

/// What is wrong with the account from this minute on.
struct Phase {
    from_minute: u64,
    faults: Vec<Fault>,
    cut: Option<Cut>,
    /// What the doctor has to say of it once it has shown.
    kind: Option<Kind>,
}

fn the_night() -> Vec<Phase> {
    let phase =
        |from_minute, faults: &[Fault], cut, kind| Phase { from_minute, faults: faults.to_vec(), cut, kind };
    let refused = Answer::Code { status: 200, code: 1_000_040_345 };
    vec![
        phase(0, &[], None, None),
        // As it was reported: the token endpoint times out, and with it the connection is lost.
        phase(
            20,
            &[Fault::Token(Answer::Hang), Fault::Endpoint(Answer::Hang)],
            Some(Cut::Reset),
            Some(Kind::NotReady),
        ),
        phase(110, &[Fault::Endpoint(Answer::Status(503))], None, Some(Kind::NotReady)),
        phase(150, &[Fault::Token(Answer::Hang)], None, Some(Kind::NoToken)),
        phase(210, &[Fault::Handshake(HandshakeFault::Hang)], Some(Cut::BlackHole), Some(Kind::NotReady)),
        phase(270, &[], None, None),
        phase(300, &[Fault::Endpoint(refused)], Some(Cut::Fin), Some(Kind::Blocked)),
        phase(360, &[Fault::CutOnOpen(Cut::Reset)], None, Some(Kind::NotReady)),
        phase(420, &[Fault::Hold], None, Some(Kind::NotReady)),
        phase(500, &[], None, None),
    ]
}

/// The platform's own view of the account.
struct Truth {
    /// Whether a connection is open that is no black hole.
    connected: bool,
    /// When that last changed.
    since: Timestamp,
    /// Calls for an address so far: one for each attempt.
    attempts: u64,
    /// When the last of them came.
    last_attempt: Timestamp,
    /// Attempts since the connection was lost.
    since_lost: u64,
    /// Outages that are over: how long each was, and how many attempts it took.
    outages: VecDeque<(Duration, u64)>,
}

impl Truth {
    fn look(&mut self, world: &World) {
        let now = world.handle.now();
        let open = world.simulator.connections(world.app(0)).unwrap();
        let connected = open.iter().any(|connection| !connection.black_hole);
        let attempts = world.simulator.counters(world.app(0)).unwrap().endpoint_calls;
        if attempts > self.attempts {
            self.since_lost += attempts - self.attempts;
            (self.attempts, self.last_attempt) = (attempts, now);
        }
        if connected != self.connected {
            if connected {
                self.outages.push_back((now.since(self.since), self.since_lost));
            }
            (self.connected, self.since, self.since_lost) = (connected, now, 0);
        }
    }
}

/// The platform's view, and an announcement that has to come true.
struct Night {
    world: World,
    truth: Truth,
    /// An attempt that was announced for this time, when there had been so many.
    announced: Option<(Timestamp, u64)>,
    checked: u64,
    kept: u64,
}

impl Night {
    /// Lets time pass, and holds the runtime to what it has announced.
    async fn pass(&mut self, span: Duration) {
        let until = self.world.elapsed() + span;
        while self.world.elapsed() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            self.truth.look(&self.world);
            let Some((at, attempts)) = self.announced else { continue };
            if self.world.handle.now() > at + LOOK_EVERY {
                assert_eq!(
                    self.truth.attempts,
                    attempts + 1,
                    "announced for {at}: {}",
                    self.world.describe()
                );
                self.announced = None;
                self.kept += 1;
            } else if self.world.handle.now() < at {
                assert_eq!(self.truth.attempts, attempts, "before {at}: {}", self.world.describe());
            }
        }
    }

    /// Compares everything an operator can see with the truth.
    async fn compare(&mut self, kind: Option<Kind>, shown: bool) {
        let world = &self.world;
        let now = world.handle.now();
        let status = world.status(0);
        let findings: Vec<Finding> = world.handle.doctor().await.unwrap().findings;
        let of = |n: usize| findings.iter().filter(move |f| f.account.as_ref() == Some(&world.id(n)));
        let down = of(0).find(|finding| matches!(finding.kind, Kind::NotReady | Kind::Blocked));

        // What is wrong: ready, readiness and doctor agree with each other, and with the platform.
        let ready = status.state == AccountState::Ready;
        let unnoticed = !self.truth.connected && now.since(self.truth.since) < SILENCE;
        let on_its_way = self.truth.connected && now.since(self.truth.since) < 11 * SECOND;
        assert!(ready == self.truth.connected || unnoticed || on_its_way, "{kind:?}: {}", world.describe());
        assert_eq!(ready, down.is_none(), "{findings:?}");
        let reasons = world.handle.readiness().err().unwrap_or_default();
        let named = reasons.iter().any(|reason| reason.contains("feishu:a0"));
        assert_eq!(named, !ready, "{reasons:?}");
        match kind {
            Some(kind) => {
                assert!(!shown || of(0).any(|finding| finding.kind == kind), "{kind:?}: {findings:?}");
            }
            None => assert!(!shown || of(0).count() == 0, "{findings:?}"),
        }
        // The other accounts are what they are, all night.
        assert_eq!(of(1).count(), 0, "{findings:?}");
        let identity: Vec<Kind> = of(2).map(|finding| finding.kind).collect();
        assert_eq!(identity, [Kind::IdentityUnknown]);

        // Since when, and when the next attempt is.
        if let Some(down) = down {
            let since = down.since.unwrap();
            let lost = self.truth.since;
            assert!(since >= lost && since.since(lost) <= SILENCE, "{since} for {lost}");
            assert_eq!((down.since, down.next_attempt_at), (status.down_since, status.next_attempt_at));
            match down.next_attempt_at {
                Some(at) => self.announced = Some((at, self.truth.attempts)),
                // Under way: no attempt takes longer than its deadlines.
                None => assert!(now.since(self.truth.last_attempt) <= 26 * SECOND, "{}", world.describe()),
            }
        }
        self.checked += 1;
    }
}

#[test]
fn status_doctor_readiness_and_log_tell_the_truth_at_every_minute_of_eight_and_a_half_hours_f101() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let world = World::prepare(Setup::default(), |simulator, apps| {
            let down = Fault::BotInfo(Answer::Status(500));
            simulator.set_fault(&apps[2].app_id, down, Times::UntilCleared).unwrap();
        })
        .await;
        world.all_ready(5 * SECOND).await;
        let now = world.handle.now();
        let truth = Truth {
            connected: true,
            since: now,
            attempts: 1,
            last_attempt: now,
            since_lost: 0,
            outages: VecDeque::new(),
        };
        let mut night = Night { world, truth, announced: None, checked: 0, kept: 0 };
        let mut phases = the_night().into_iter().peekable();
        let (mut began, mut kind) = (0, None);
        let (mut downs, mut asked) = (0, Vec::new());
        for minute in 0..510 {
            while let Some(phase) = phases.next_if(|phase| phase.from_minute == minute) {
                let world = &night.world;
                world.simulator.clear_faults(world.app(0)).unwrap();
                for fault in phase.faults {
                    world.simulator.set_fault(world.app(0), fault, Times::UntilCleared).unwrap();
                }
                if let Some(cut) = &phase.cut {
                    world.simulator.drop_connections(world.app(0), cut).unwrap();
                    night.truth.look(&night.world);
                }
                (began, kind) = (minute, phase.kind);
                // Whoever is to notice that there is no token has to need one.
                night.world.simulator.revoke_tokens(night.world.app(0)).unwrap();
                night.announced = None;
                if phase.from_minute == 300 + 60 {
                    // An operator has mended the credentials, and says so.
                    night.world.handle.probe(&night.world.id(0)).await.unwrap();
                }
            }
            if minute % 10 == 5 {
                asked.push(minute.to_string());
                night.world.say(0, "alice", &format!("{minute}"));
            }
            night.pass(60 * SECOND).await;
            // A trouble may take as long to have its name, and to pass, as its deadlines and the back-off.
            let shown = minute >= began + if kind.is_some() { 7 } else { 2 };
            night.compare(kind, shown).await;
            for line in logs.take("feishu:a0") {
                let message = line["message"].as_str().unwrap_or_default().to_owned();
                if message.starts_with("disconnected") {
                    downs += 1;
                    assert!(line["next_in_ms"].is_u64() && line["class"].is_string(), "{line}");
                } else if message == "reconnected" {
                    let (outage, attempts) = night.truth.outages.pop_front().unwrap();
                    let after = Duration::from_millis(line["after_ms"].as_u64().unwrap());
                    assert!(after <= outage + 11 * SECOND && after + SILENCE >= outage, "{outage:?}: {line}");
                    assert_eq!(line["attempts"], attempts, "{line}");
                    downs -= 1;
                }
            }
        }
        assert_eq!(downs, 0, "every `disconnected` has its `reconnected`");
        println!("{} minutes compared, {} announced attempts came true", night.checked, night.kept);
        assert!(night.checked == 510 && night.kept > 150, "{} {}", night.checked, night.kept);
        let world = &night.world;
        let all = |w: &World| asked.iter().all(|text| w.copies("alice", text) == 1);
        // What the platform gave up on is not ours to answer; what it delivered is answered, once each.
        let received = world.handle.account(&world.id(0)).await.unwrap().counts.received;
        world
            .until_every(60 * SECOND, "answered", Duration::from_secs(7 * 3600), |w| {
                all(w) || asked.iter().filter(|text| w.copies("alice", text) == 1).count() as u64 >= received
            })
            .await;
        world.check().await;
    });
}
