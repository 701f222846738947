package granary

// ObjectVersion numbers the versions of objects in a bucket with versioning, in the order in which they came to be the newest of
// their key. 0 is what was made before there was versioning.
//
// A bucket keeps versions when the root of its dataset has XattrVersioning. From then on what a door replaces or unlinks stays, as an earlier
// version of the key that it had; unlinking leaves a delete marker, which is a version without content. So it is whichever door
// does it, but for writing to a file, which changes the newest version. Other doors than S3 see the newest versions only. A directory
// that holds earlier versions is not empty.
//
// A version made while versioning is VersioningSuspended, and what was made before, has no id (Attr.Unnumbered): a key has one such at most,
// and the next takes its place.
type ObjectVersion uint64

// NoID, in an op or a query, means the version of an object that has no id.
const NoID ObjectVersion = 1<<64 - 1

// Attributes of the root of a bucket's dataset, which the store obeys. Only the superuser sets them.
const (
	// XattrVersioning is VersioningEnabled or VersioningSuspended. It is never removed.
	XattrVersioning = "granary.s3.versioning"
	// XattrObjectLock, whatever its value, says that versions may be locked. It is never removed, and versioning stays enabled.
	XattrObjectLock = "granary.s3.object-lock"
)

// Values of XattrVersioning.
const (
	VersioningEnabled   = "Enabled"
	VersioningSuspended = "Suspended"
)

// Attributes that lock a version of an object: nothing changes its content or takes it away, by whatever door. It may become an earlier
// version.
const (
	// XattrRetention is "GOVERNANCE" or "COMPLIANCE", a space, and until when, in nanoseconds since the Unix epoch. Until then it is not
	// shortened or removed, nor the mode changed: under GOVERNANCE but with Bypass, under COMPLIANCE by nobody.
	XattrRetention = "granary.s3.retention"
	// XattrLegalHold locks for as long as it is LegalHoldOn.
	XattrLegalHold = "granary.s3.legal-hold"
)

// Values of the locks.
const (
	RetentionGovernance = "GOVERNANCE"
	RetentionCompliance = "COMPLIANCE"
	LegalHoldOn         = "ON"
)

// Unnumbered reports whether a version of an object has no id.
func (a *Attr) Unnumbered() bool { return a.Object == 0 || a.Flags&FlagNoID != 0 }
