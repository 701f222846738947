// Package iam is the policy language of AWS: documents that say who may do what to which resources on which conditions.
// It parses and validates them strictly, and decides. It knows nothing of S3, of the store, or of signatures.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
//
// # Decisions
//
// Decide takes all policies that apply to a request: those of the caller (its own, its groups', managed ones), that of the resource,
// and, for a session, the one that came with it. An explicit Deny in any of them wins; then an Allow of the caller's policies or of the resource's
// does, if the session's policy, where there is one, allows too; what nothing allows is denied.
//
// # Differences from AWS
//
// There is one account. Permission boundaries, service control policies, and conditions on what this cluster has none of (MFA, VPCs,
// organisations) do not exist: a condition on a key that a request does not have is decided as AWS does when a key is missing.
//
// # Invariants
//
//  1. A document that is not understood as a whole is refused (ErrMalformed): an element, an operator or a variable that is passed over could
//     make a statement allow more than its author meant.
//  2. Decide is a function of its arguments; it ends, and is linear in the policies, and at worst in the product of the lengths of a pattern and
//     of what it is matched with.
package iam
