// Package accounts keeps the users, groups, roles and policies of a cluster, and serves what AWS's query APIs for them, IAM and STS, ask:
// the operations that aws iam and aws sts send as forms to POST /. It knows nothing of HTTP or signatures: its caller tells who asks, and how to
// find out what that one may do.
//
// There is one account. Managed policies have up to five versions (versions.go). Users are not renamed. There are no
// passwords, MFA devices, permission boundaries or service roles.
//
// # Sessions
//
// Temporary credentials (sts.go) are in no table. Their token says all about them: key, secret, whose they are, until when, and what bounds them;
// sealed with AES-256-GCM under a key that the cluster's state keeps (token.go). So any gateway can check them, and nobody can make or change one. They
// end with their time, with the role or user, or when that is disabled.
package accounts
