//! Expressions of admission: the conditions under which a webhook or a policy is about a request.

use cel::{Program, Type};

/// What is wrong with a condition (`matchConditions[*].expression` of `admissionregistration.k8s.io/v1`): it is a truth about the
/// names that admission gives it. What it asks of the `authorizer` is not checked, but for its syntax.
///
/// # Errors
/// What is wrong, in upstream's words.
pub fn condition(expression: &str) -> Result<(), String> {
    let names = ["object", "oldObject", "request", "authorizer"].map(|name| (name, Type::Dyn));
    match Program::compile(expression, &names) {
        Ok(program) if matches!(program.result(), Type::Bool | Type::Dyn) => Ok(()),
        Ok(_) => Err("must evaluate to bool".to_owned()),
        Err(error) => {
            let syntax = error.issues.iter().any(|issue| issue.message.starts_with("Syntax error"));
            let known = syntax || !expression.contains("authorizer");
            if known { Err(format!("compilation failed: {error}")) } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_truths_about_what_admission_knows() {
        for good in [
            "true",
            "object.metadata.name != 'x' && request.operation in ['CREATE']",
            "request.dryRun",
            "!has(oldObject.spec) || oldObject.spec.a > 1",
            "authorizer.group('apps').resource('deployments').check('get').allowed()",
        ] {
            assert_eq!(condition(good), Ok(()), "{good}");
        }
        for (wrong, why) in [
            ("... [] bad expression", "compilation failed: ERROR: <input>:1:"),
            ("nothing.name == 'x'", "undeclared reference to 'nothing'"),
            ("'text'", "must evaluate to bool"),
            ("authorizer.group(", "compilation failed: "),
        ] {
            let said = condition(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
