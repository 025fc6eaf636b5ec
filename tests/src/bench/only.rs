//! `--only`: a part of what is measured, named by columns from the left.

use anyhow::{Result, ensure};

/// What to measure: all, or what a path such as `established/ipv4/tcp` names.
#[derive(Clone, Debug, Default)]
pub struct Only(Option<Vec<String>>);

impl Only {
    /// What `path` names.
    pub fn path(path: &str) -> Self {
        Self(Some(path.split('/').map(str::to_owned).collect()))
    }

    /// Whether a line with these columns is measured.
    pub fn wants<S: AsRef<str>>(&self, columns: &[S]) -> bool {
        self.0.as_ref().is_none_or(|path| {
            path.len() <= columns.len()
                && path.iter().zip(columns).all(|(part, column)| part == column.as_ref())
        })
    }

    /// Fails when nothing was measured: the path names nothing.
    pub fn check(&self, measured: bool) -> Result<()> {
        let path = self.0.as_ref().map(|path| path.join("/")).unwrap_or_default();
        ensure!(measured, "`--only {path}` names nothing that is measured (with --quick there is less)");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_lines_by_their_first_columns() {
        let columns = ["established", "ipv4", "tcp", "1024"];
        for path in ["established", "established/ipv4", "established/ipv4/tcp/1024"] {
            assert!(Only::path(path).wants(&columns), "{path}");
        }
        for path in ["", "est", "established/ipv6", "established/ipv4/tcp/1", "established/ipv4/tcp/1024/x"] {
            assert!(!Only::path(path).wants(&columns), "{path}");
        }
        assert!(Only::default().wants(&columns));
        assert!(Only::path("nothing").check(false).is_err());
    }
}
