use moorline_config::AlertBody;
use moorline_core::{Secret, Timestamp};

use super::*;

const START: Timestamp = Timestamp::from_millis(1_795_176_000_000);

/// A watch, the time, and what it wanted to tell.
struct Bench {
    watch: Watch,
    settings: Settings,
    at: u64,
    /// What was logged and what was posted: when, the kind, and of how many.
    logged: Vec<(u64, NoticeKind, usize)>,
    posted: Vec<(u64, NoticeKind, usize)>,
    last: Option<Notice>,
    kept: Option<String>,
    /// What the webhook answers: the wait after a failure.
    answer: Option<Duration>,
}

fn finding(kind: FindingKind, account: Option<&str>) -> Finding {
    let id = account.map(|name| format!("feishu:{name}").parse().unwrap());
    Finding::error(kind, id.as_ref(), "receives nothing", "it was cut", "nothing")
}

fn down(name: &str) -> Finding {
    finding(FindingKind::NotReady, Some(name))
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            webhook: Some(Secret::new("https://hooks.test/x")),
            body: AlertBody::Json,
            after: Duration::from_secs(180),
            warnings: false,
        };
        Self {
            watch: Watch::default(),
            settings,
            at: 0,
            logged: Vec::new(),
            posted: Vec::new(),
            last: None,
            kept: None,
            answer: None,
        }
    }

    fn now(&self) -> Now {
        let since = Duration::from_secs(self.at);
        let monotonic = Monotonic::from_origin(Duration::from_secs(1_000) + since);
        Now { wall: START + since, monotonic, with_sleep: monotonic }
    }

    /// For so many seconds these are the findings.
    fn pass(&mut self, seconds: u64, findings: &[Finding]) -> &mut Self {
        for _ in 0..seconds {
            self.at += 1;
            let effects = self.watch.step(self.now(), findings, &self.settings);
            self.carry_out(effects);
        }
        self
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Log(notice) => self.logged.push((self.at, notice.kind, notice.items.len())),
                Effect::Keep(told) => self.kept = Some(told),
                Effect::Post(notice) => {
                    if self.answer.is_none() {
                        self.posted.push((self.at, notice.kind, notice.items.len()));
                        self.last = Some(notice);
                    }
                    let more = self.watch.posted(self.now(), self.answer);
                    self.carry_out(more);
                }
            }
        }
    }

    /// The next life, or the next process.
    fn restart(&mut self) {
        self.watch = Watch::recall(self.kept.as_deref().unwrap_or_default(), self.now());
    }
}

use NoticeKind::{Alert, AllClear};

#[test]
fn a_blip_is_nobodys_business_and_an_outage_is_told_once_and_so_is_its_end_f103() {
    let mut bench = Bench::new();
    bench.pass(170, &[down("a")]).pass(600, &[]);
    assert_eq!((bench.posted.len(), bench.logged.len(), bench.kept.is_none()), (0, 0, true), "a blip");
    let began = bench.at;
    bench.pass(1_000, &[down("a")]);
    assert_eq!(bench.posted, [(began + 181, Alert, 1)]);
    let ended = bench.at;
    bench.pass(600, &[]);
    assert_eq!(bench.posted[1..], [(ended + 61, AllClear, 1)]);
    assert_eq!(bench.logged, bench.posted);
    let item = &bench.last.as_ref().unwrap().items[0];
    assert_eq!((item.lasted_ms, item.since), (Some(1_000_000), START + Duration::from_secs(began + 1)));
}

#[test]
fn what_needs_an_operator_is_told_at_once_also_when_it_was_told_as_something_that_passes_f103() {
    let mut bench = Bench::new();
    let blocked = finding(FindingKind::Blocked, Some("a"));
    bench.pass(3, std::slice::from_ref(&blocked));
    assert_eq!(bench.posted, [(1, Alert, 1)]);
    // Its slow attempts are no end of it, and the same trouble by another name is no other one.
    for _ in 0..10 {
        bench.pass(600, std::slice::from_ref(&blocked)).pass(5, &[down("a")]).pass(1, &[]);
    }
    assert_eq!(bench.posted.len(), 1);
    bench.pass(100, &[]);
    assert_eq!(bench.posted.len(), 2);

    bench.pass(300, &[down("b")]);
    assert_eq!(bench.posted[2..].len(), 1);
    bench.pass(300, &[finding(FindingKind::Blocked, Some("b"))]);
    assert_eq!(bench.posted[3..].iter().map(|told| told.1).collect::<Vec<_>>(), [Alert]);
    bench.pass(300, &[down("b")]).pass(300, &[]);
    assert_eq!(
        bench.posted[4..].iter().map(|told| told.1).collect::<Vec<_>>(),
        [AllClear],
        "one end of both"
    );
}

#[test]
fn an_outage_of_everything_is_one_message_and_so_is_its_end_f103() {
    let mut bench = Bench::new();
    let all: Vec<Finding> = (0..30).map(|n| down(&format!("a{n}"))).collect();
    // Half-open sockets are noticed up to 40 s later than closed ones.
    for n in 1..=30 {
        bench.pass(1, &all[..n]);
    }
    bench.pass(600, &all);
    assert_eq!(bench.posted.len(), 1, "{:?}", bench.posted);
    assert_eq!(bench.posted[0].2, 30);
    for n in (0..30).rev() {
        bench.pass(1, &all[..n]);
    }
    bench.pass(600, &[]);
    assert_eq!(bench.posted.len(), 2, "{:?}", bench.posted);
    let text = bench.last.as_ref().unwrap().text();
    assert!(text.contains("and 10 more") && text.lines().count() == 21, "{text}");
}

#[test]
fn one_that_comes_and_goes_for_hours_is_told_once_f103() {
    let mut bench = Bench::new();
    for _ in 0..200 {
        bench.pass(40, &[down("a")]).pass(20, &[]);
    }
    assert_eq!(bench.posted.len(), 1, "{:?}", bench.posted);
    bench.pass(100, &[]);
    assert_eq!(bench.posted.len(), 2);
    assert!(bench.last.as_ref().unwrap().items[0].lasted_ms >= Some(199 * 60_000));
}

#[test]
fn a_webhook_that_fails_is_told_what_is_true_when_it_works_again_f103() {
    let mut bench = Bench::new();
    bench.answer = Some(Duration::from_secs(30));
    bench.pass(300, &[down("a")]).pass(100, &[down("a"), finding(FindingKind::Blocked, Some("b"))]);
    assert_eq!((bench.posted.len(), bench.logged.len()), (0, 2));
    bench.answer = None;
    bench.pass(40, &[down("a"), finding(FindingKind::Blocked, Some("b"))]);
    assert_eq!(bench.posted.iter().map(|told| (told.1, told.2)).collect::<Vec<_>>(), [(Alert, 2)]);
    bench.pass(300, &[]);
    assert_eq!(bench.posted.len(), 2);

    // What nobody heard of while it was there is not worth a message when it is over.
    bench.answer = Some(Duration::from_secs(30));
    bench.pass(300, &[down("c")]).pass(300, &[]);
    bench.answer = None;
    bench.pass(600, &[]);
    assert_eq!((bench.posted.len(), bench.logged.len()), (2, 5));

    // An end that could not be told is told later.
    bench.pass(300, &[down("d")]);
    bench.answer = Some(Duration::from_secs(30));
    bench.pass(300, &[]);
    bench.answer = None;
    bench.pass(60, &[]);
    assert_eq!(bench.posted[2..].iter().map(|told| told.1).collect::<Vec<_>>(), [Alert, AllClear]);
}

#[test]
fn a_restart_tells_nothing_twice_and_forgets_no_end_f103() {
    let mut bench = Bench::new();
    bench.pass(300, &[down("a")]);
    bench.restart();
    bench.pass(600, &[down("a")]);
    assert_eq!(bench.posted.len(), 1, "told before");
    bench.restart();
    bench.pass(5, &[down("a")]).pass(100, &[]);
    assert_eq!(bench.posted.len(), 2);
    assert_eq!(bench.last.as_ref().unwrap().items[0].lasted_ms, Some(905_000), "from before the restarts");
    bench.restart();
    bench.pass(600, &[]);
    assert_eq!(bench.posted.len(), 2, "the end is known too");
    for nonsense in ["", "{}", "[{]", "null"] {
        assert!(Watch::recall(nonsense, bench.now()).troubles.is_empty());
    }
}

#[test]
fn without_a_webhook_the_log_is_told_the_same_and_warnings_are_as_configured_f103() {
    let mut bench = Bench::new();
    bench.settings.webhook = None;
    let warning = finding(FindingKind::DeadLetters, Some("a")).warning();
    bench.pass(400, std::slice::from_ref(&warning));
    assert_eq!((bench.logged.len(), bench.posted.len()), (0, 0));
    bench.settings.warnings = true;
    bench.pass(400, std::slice::from_ref(&warning)).pass(100, &[]);
    assert_eq!(bench.logged.iter().map(|told| told.1).collect::<Vec<_>>(), [Alert, AllClear]);
    assert_eq!(bench.posted, []);
    // Nor does a webhook hear that it fails itself.
    bench.settings.webhook = Some(Secret::new("https://hooks.test/x"));
    bench.pass(900, &[finding(FindingKind::AlertFailed, None)]);
    assert_eq!((bench.logged.len(), bench.posted.len()), (2, 0));
}

#[test]
fn no_more_than_so_many_are_kept_in_mind_g12() {
    let mut bench = Bench::new();
    let many: Vec<Finding> = (0..MOST + 50).map(|n| down(&format!("a{n}"))).collect();
    bench.pass(2, &many);
    assert_eq!(bench.watch.troubles.len(), MOST);
}

/// A blocked account is tried for a moment before it is well again: the end named that attempt, and not what was told.
#[test]
fn an_end_names_what_was_told_f103() {
    let mut bench = Bench::new();
    let blocked = Finding {
        what: "receives nothing: an operator has to act".to_owned(),
        ..finding(FindingKind::Blocked, Some("a"))
    };
    let told = |bench: &Bench| {
        let item = &bench.last.as_ref().unwrap().items[0];
        (item.kind.clone(), item.what.clone())
    };
    for restarts in [false, true] {
        bench.pass(60, std::slice::from_ref(&blocked));
        let alert = told(&bench);
        assert_eq!(alert.0, "blocked");
        bench.pass(5, &[down("a")]);
        if restarts {
            bench.restart();
            bench.pass(5, &[down("a")]);
        }
        bench.pass(120, &[]);
        assert_eq!(told(&bench), alert);
        assert_eq!(bench.posted.last().map(|posted| posted.1), Some(AllClear));
    }
    // What was told as something that passes, and then as something that does not, ends as the latter.
    bench.pass(300, &[down("b")]).pass(300, &[finding(FindingKind::Blocked, Some("b"))]).pass(300, &[]);
    assert_eq!(told(&bench).0, "blocked");
    // What is not told of because it is the same trouble does not change what was told.
    bench.pass(300, &[down("c")]).pass(60, &[finding(FindingKind::Silent, Some("c"))]).pass(300, &[]);
    assert_eq!(told(&bench).0, "not_ready");
}
