use proptest::prelude::*;
use serde_json::json;

use super::*;
