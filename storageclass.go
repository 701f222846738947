package granary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Storage classes are S3's names for ways to store objects. A file that has one has a policy of its own, whose StorageClass names it and which
// follows the rule of the class: what the rule leaves open is as the policy of the file's directory says. A file of no class, as any other door
// makes them, is STANDARD to S3.
//
// Rules are attributes of BucketsInode: XattrStorageClass and the name of the class. Only the superuser sets them, and what is stored in the class
// follows in the background (TaskSweep). A class without one has that of DefaultClassRule.

// StorageClassStandard is what S3 calls the class of objects that have none.
const StorageClassStandard = "STANDARD"

// XattrStorageClass begins the names of the attributes that hold the rules of classes.
const XattrStorageClass = "granary.storage-class."

// StorageClasses returns the classes that there are beside STANDARD, in the order in which lifecycle rules go through them: from any to one behind
// it. Those of S3 that are missing need a restore before objects can be read (GLACIER, DEEP_ARCHIVE), or belong to other services.
func StorageClasses() []string {
	return []string{"REDUCED_REDUNDANCY", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR"}
}

// IsStorageClass reports whether a class is one of StorageClasses.
func IsStorageClass(name string) bool { return slices.Contains(StorageClasses(), name) }

// ClassRule says in what the policy of a storage class differs from that of the directory.
type ClassRule struct {
	Code        string  `json:"code,omitempty"`        // k+m or "auto", as ParseCode reads it; "": as the directory
	Compression string  `json:"compression,omitempty"` // as ParseCompression reads it; "": as the directory
	Media       *string `json:"media,omitempty"`       // Policy.Class, "" for any; nil: as the directory
}

// DefaultClassRule returns the rule of a class for which nobody has set one: as the directory, and what is meant to be read seldom is compressed
// with zstd.
func DefaultClassRule(class string) ClassRule {
	if class == "REDUCED_REDUNDANCY" {
		return ClassRule{}
	}
	return ClassRule{Compression: CompressionZstd.String()}
}

// ParseClassRule reads what is stored of a rule: JSON.
func ParseClassRule(stored []byte) (ClassRule, error) {
	var r ClassRule
	d := json.NewDecoder(bytes.NewReader(stored))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return ClassRule{}, Errorf(KindInvalid, "storage class", "", "a rule that cannot be read: %w", err)
	}
	_, err := r.Over(DefaultPolicy(), "")
	return r, err
}

// Over returns the policy of what is stored in a class in a directory that has the policy base.
func (r ClassRule) Over(base Policy, class string) (Policy, error) {
	p := base
	var err error
	if r.Code != "" {
		if p.DataShards, p.ParityShards, err = ParseCode(r.Code); err != nil {
			return Policy{}, err
		}
	}
	if r.Compression != "" {
		if p.Compression, err = ParseCompression(r.Compression); err != nil {
			return Policy{}, err
		}
	}
	if r.Media != nil {
		p.Class = *r.Media
	}
	p.StorageClass = class
	return p, p.Validate()
}

// ParseCode reads k and m as Policy.String writes them: "4+2", or "auto", which is both zero.
func ParseCode(text string) (k, m int, err error) {
	if text == "auto" {
		return 0, 0, nil
	}
	if n, err := fmt.Sscanf(text, "%d+%d", &k, &m); err != nil || n != 2 || k < 1 || fmt.Sprintf("%d+%d", k, m) != text {
		return 0, 0, Errorf(KindInvalid, "policy", "", "%q is neither auto nor K+M, such as 4+2", text)
	}
	return k, m, nil
}

// String returns the name of a compression.
func (c Compression) String() string {
	switch c {
	case CompressionNone:
		return "none"
	case CompressionLZ4:
		return "lz4"
	case CompressionZstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// ParseCompression reads what Compression.String writes.
func ParseCompression(text string) (Compression, error) {
	for c := CompressionNone; c <= CompressionZstd; c++ {
		if c.String() == text {
			return c, nil
		}
	}
	return 0, Errorf(KindInvalid, "policy", "", "%q is none of none, lz4 and zstd", text)
}
