//! A decision: go or no-go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts};
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::text;

/// A decision: go or no-go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawApprove {
    Question(#[schemars(extend("format" = "template"))] String),
    Map(RawApproveMap),
}

/// A decision with its question.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawApproveMap {
    /// What is decided.
    #[schemars(extend("format" = "template"))]
    pub question: String,
}

/// A decision: go or no-go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approve<T> {
    pub question: T,
}

pub fn converted(raw: &RawApprove) -> Approve<Text> {
    let question = match raw {
        RawApprove::Question(question) => question,
        RawApprove::Map(map) => &map.question,
    };
    Approve { question: text(question) }
}

impl<T> Approve<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        Facts {
            only_reads: true,
            can_be_a_reading: false,
            is_idempotent: true,
            done_by: DoneBy::GATE,
            inverse: Inverse::Nothing,
            takes_back: false,
            results: &[],
            lasts: Lasts::Unsaid,
            may_hang: false,
            commands: Commands::None,
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself: ByItself::CarriesOut, may_do_the_same: false },
        }
    }
}

impl<T> Approve<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Approve<W::Text>, W::Error> {
        let Approve { question } = self;
        Ok(Approve { question: walk.text(question)? })
    }
}

impl Approve<String> {
    pub fn in_words(&self) -> String {
        self.question.clone()
    }
}
