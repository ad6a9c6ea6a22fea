//! Statements whose conditions depend on the request. Text is only ever this program's own; what a client sent is bound.

use sqlx::{Any, Arguments, AssertSqlSafe, Encode, Type, any::AnyArguments, query::Query, query_with};

/// A statement that is being written.
pub struct Sql {
    text: String,
    arguments: AnyArguments,
    failed: Option<sqlx::Error>,
}

impl Sql {
    /// Begins with `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), arguments: AnyArguments::default(), failed: None }
    }

    /// Adds text of this program's own.
    pub fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a placeholder, and binds a value to it.
    pub fn bind<T: for<'q> Encode<'q, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        match self.arguments.add(value) {
            Ok(()) => {
                self.text.push('$');
                self.text.push_str(&self.arguments.len().to_string());
            }
            Err(error) => self.failed = Some(sqlx::Error::Encode(error)),
        }
        self
    }

    /// The statement.
    ///
    /// # Errors
    /// A value could not be encoded.
    pub fn query(self) -> Result<Query<'static, Any, AnyArguments>, sqlx::Error> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(query_with(AssertSqlSafe(self.text), self.arguments)),
        }
    }
}

/// The pattern of LIKE (with `ESCAPE '\'`) for text that contains `part`, whose `%` and `_` mean themselves.
pub fn containing(part: &str) -> String {
    let mut pattern = String::with_capacity(part.len() + 2);
    pattern.push('%');
    for c in part.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_that_a_client_sends_are_letters() {
        assert_eq!(containing(r"50%_\x"), r"%50\%\_\\x%");
    }
}
