//! What an order costs, whether it is accepted, and what may happen to it afterwards. Pure: rules, menu and time are parameters.
//!
//! **Rounding.** Every amount is a whole number of cents. A percentage of a line (a discount, a tax) is rounded to the cent once,
//! half up; sums are sums of rounded lines, so that what is printed adds up. A fixed discount is spread over the lines it applies to
//! in proportion to their price, each share rounded down and the cents left over given to the largest remainders (among equals: the
//! smaller item id), so that exactly the discount is spread.
//!
//! **Order does not matter.** Lines of the same item are one line; every percentage is taken from the undiscounted price; all
//! percentages come before all fixed amounts, and rules of one kind act in the order of their names. So neither the order of the lines
//! nor the order of the rules changes a total.

mod hours;
pub mod order;
mod price;
mod rules;
mod share;
mod text;

pub use self::{
    hours::{Opening, Span, Weekly},
    price::{Basket, BasketLine, Decision, MenuItem, Quote, QuoteLine, Refusal, RefusalCode, Verdict, decide},
    rules::{Cut, Discount, Limits, Rules, RulesError, Taxes, When},
    text::Text,
};
