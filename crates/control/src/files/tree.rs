//! A tree as JSON, written step by step as a walk goes down and up again: no more is held than how deep it is.

use wire::guest::file::Node;

/// Why steps are no walk.
#[derive(Debug, thiserror::Error)]
#[error("a step of a walk goes from depth {from} to {to}, below nothing")]
pub struct Astray {
    from: u32,
    to: u32,
}

/// Writes `[…]`, the children of the directory where the walk began.
#[derive(Debug, Default)]
pub struct Nest {
    /// Lists that are open below the first.
    open: u32,
    /// Whether the last step was a directory: the list of its children is open, and empty.
    is_fresh: bool,
    /// Whether there was a step at all.
    has_begun: bool,
}

impl Nest {
    /// Writes a step. The list it is in has been begun by whoever holds `out`.
    pub fn write(&mut self, node: &Node, out: &mut Vec<u8>) -> Result<(), Astray> {
        if node.depth > self.open {
            return Err(Astray { from: self.open, to: node.depth });
        }
        let is_child = self.is_fresh && node.depth == self.open;
        self.close(node.depth, out);
        if self.has_begun && !is_child {
            out.push(b',');
        }
        let kind = if node.is_dir { "directory" } else { "file" };
        out.extend_from_slice(format!("{{\"name\":{},\"type\":\"{kind}\"", json(&node.name)).as_bytes());
        if node.is_dir {
            out.extend_from_slice(b",\"children\":[");
            self.open += 1;
        } else {
            out.push(b'}');
        }
        (self.is_fresh, self.has_begun) = (node.is_dir, true);
        Ok(())
    }

    /// Writes what closes all that is open below `depth`.
    pub fn close(&mut self, depth: u32, out: &mut Vec<u8>) {
        while self.open > depth {
            out.extend_from_slice(b"]}");
            self.open -= 1;
            self.is_fresh = false;
        }
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn nested(nodes: &[Node]) -> Result<Value, Astray> {
        let mut out = vec![b'['];
        let mut nest = Nest::default();
        for node in nodes {
            nest.write(node, &mut out)?;
        }
        nest.close(0, &mut out);
        out.push(b']');
        Ok(serde_json::from_slice(&out).unwrap())
    }

    /// The steps of a walk over a tree.
    fn flat(tree: &Value, depth: u32) -> Vec<Node> {
        let each = tree.as_array().unwrap().iter().flat_map(|node| {
            let is_dir = node["type"] == "directory";
            assert_eq!(node.get("children").is_some(), is_dir, "{node}");
            let step = Node { depth, name: node["name"].as_str().unwrap().into(), is_dir };
            let below = if is_dir { flat(&node["children"], depth + 1) } else { Vec::new() };
            [vec![step], below].concat()
        });
        each.collect()
    }

    proptest! {
        #[test]
        fn a_walk_is_told_by_its_tree(steps in prop::collection::vec((0u32..5, any::<bool>(), "[a\"\\\\é\n]{1,3}"), 0..30)) {
            let mut depth_max = 0;
            let nodes: Vec<Node> = steps.into_iter().map(|(depth, is_dir, name)| {
                let depth = depth.min(depth_max);
                depth_max = depth + u32::from(is_dir);
                Node { depth, name, is_dir }
            }).collect();
            prop_assert_eq!(flat(&nested(&nodes).unwrap(), 0), nodes);
        }
    }

    #[test]
    fn a_step_below_nothing_is_no_walk() {
        let node = |depth, is_dir| Node { depth, name: "a".into(), is_dir };
        assert!(nested(&[node(1, false)]).is_err());
        assert!(nested(&[node(0, false), node(1, false)]).is_err());
        assert!(nested(&[node(0, true), node(2, false)]).is_err());
    }
}
