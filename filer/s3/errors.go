package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
)

// code is an S3 error code, as the Code element of an error document has it.
type code string

// The error codes this gateway answers with. Those that AWS does not know say what a directory tree
// cannot do: codeParentIsFile, codeIsDirectory, codeStorageFull, codeQuota, codeLocked, codeFenced.
const (
	codeACLNotSupported       code = "AccessControlListNotSupported"
	codeAccessDenied          code = "AccessDenied"
	codeAuthMalformed         code = "AuthorizationHeaderMalformed"
	codeAuthQuery             code = "AuthorizationQueryParametersError"
	codeBadDigest             code = "BadDigest"
	codeBucketNotEmpty        code = "BucketNotEmpty"
	codeBucketOwned           code = "BucketAlreadyOwnedByYou"
	codeContentSHA256         code = "XAmzContentSHA256Mismatch"
	codeEntityTooLarge        code = "EntityTooLarge"
	codeEntityTooSmall        code = "EntityTooSmall"
	codeIncompleteBody        code = "IncompleteBody"
	codeAccessForbidden       code = "AccessForbidden"
	codeBadRequest            code = "BadRequest"
	codeInvalidBucketState    code = "InvalidBucketState"
	codeInvalidPartRange      code = "InvalidPartNumber"
	codeInvalidRedirect       code = "InvalidRedirectLocation"
	codeInvalidTag            code = "InvalidTag"
	codeInternal              code = "InternalError"
	codeInvalidAccessKey      code = "InvalidAccessKeyId"
	codeInvalidArgument       code = "InvalidArgument"
	codeInvalidBucketName     code = "InvalidBucketName"
	codeInvalidDigest         code = "InvalidDigest"
	codeInvalidLogTarget      code = "InvalidTargetBucketForLogging"
	codeInvalidEncryption     code = "InvalidEncryptionAlgorithmError"
	codeInvalidPart           code = "InvalidPart"
	codeInvalidPartOrder      code = "InvalidPartOrder"
	codeInvalidRange          code = "InvalidRange"
	codeInvalidRequest        code = "InvalidRequest"
	codeInvalidStorageClass   code = "InvalidStorageClass"
	codeInvalidURI            code = "InvalidURI"
	codeIsDirectory           code = "ObjectIsDirectory"
	codeKeyTooLong            code = "KeyTooLongError"
	codeInvalidToken          code = "InvalidToken"
	codeExpiredToken          code = "ExpiredToken"
	codeFormTooLong           code = "MaxPostPreDataLengthExceeded"
	codeMalformedPOST         code = "MalformedPOSTRequest"
	codeInvalidPolicy         code = "InvalidPolicyDocument"
	codeACLWithOwnership      code = "InvalidBucketAclWithObjectOwnership"
	codeUnresolvableGrant     code = "UnresolvableGrantByEmailAddress"
	codeUnexpectedContent     code = "UnexpectedContent"
	codeMissingSecurityHeader code = "MissingSecurityHeader"
	codeMalformedPolicy       code = "MalformedPolicy"
	codeMalformedTrailer      code = "MalformedTrailerError"
	codeMalformedXML          code = "MalformedXML"
	codeMetadataTooLarge      code = "MetadataTooLarge"
	codeMessageTooLong        code = "MaxMessageLengthExceeded"
	codeMethodNotAllowed      code = "MethodNotAllowed"
	codeMissingLength         code = "MissingContentLength"
	codeNoSuchBucket          code = "NoSuchBucket"
	codeNoSuchKey             code = "NoSuchKey"
	codeNoSuchUpload          code = "NoSuchUpload"
	codeNoSuchVersion         code = "NoSuchVersion"
	codeNotImplemented        code = "NotImplemented"
	codeOperationAborted      code = "OperationAborted"
	codeParentIsFile          code = "ObjectParentIsFile"
	codePrecondition          code = "PreconditionFailed"
	codeQuota                 code = "QuotaExceeded"
	codeRequestTimeout        code = "RequestTimeout"
	codeSignature             code = "SignatureDoesNotMatch"
	codeSlowDown              code = "SlowDown"
	codeStorageFull           code = "StorageFull"
	codeTimeSkewed            code = "RequestTimeTooSkewed"
	codeUnavailable           code = "ServiceUnavailable"

	codeLocked code = "ResourceLocked" // not of S3: a mandatory lock is another's
	codeFenced code = "FencedOff"      // not of S3: the lock whose token came along is lost

	codeNoCORS           code = "NoSuchCORSConfiguration"
	codeNoEncryption     code = "ServerSideEncryptionConfigurationNotFoundError"
	codeNoLifecycle      code = "NoSuchLifecycleConfiguration"
	codeNoObjectLock     code = "ObjectLockConfigurationNotFoundError"
	codeNoObjectLockHere code = "NoSuchObjectLockConfiguration"
	codeNoOwnership      code = "OwnershipControlsNotFoundError"
	codeNoPolicy         code = "NoSuchBucketPolicy"
	codeNoPublicBlock    code = "NoSuchPublicAccessBlockConfiguration"
	codeNoReplication    code = "ReplicationConfigurationNotFoundError"
	codeNoTagSet         code = "NoSuchTagSet"
	codeNoWebsite        code = "NoSuchWebsiteConfiguration"
	codeNoConfiguration  code = "NoSuchConfiguration"
)

// status returns the HTTP status that goes with the code.
func (c code) status() int {
	switch c {
	case codeAccessForbidden, codeAccessDenied, codeInvalidAccessKey, codeSignature, codeTimeSkewed, codeQuota:
		return http.StatusForbidden
	case codeNoSuchBucket, codeNoSuchKey, codeNoSuchUpload, codeNoSuchVersion, codeNoCORS, codeNoEncryption,
		codeNoLifecycle, codeNoObjectLock, codeNoObjectLockHere, codeNoOwnership, codeNoPolicy, codeNoPublicBlock,
		codeNoReplication, codeNoTagSet, codeNoWebsite, codeNoConfiguration:
		return http.StatusNotFound
	case codeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case codeInvalidBucketState, codeBucketNotEmpty, codeBucketOwned, codeOperationAborted, codeParentIsFile, codeIsDirectory:
		return http.StatusConflict
	case codeMissingLength:
		return http.StatusLengthRequired
	case codeLocked:
		return http.StatusLocked
	case codePrecondition, codeFenced:
		return http.StatusPreconditionFailed
	case codeInvalidRange, codeInvalidPartRange:
		return http.StatusRequestedRangeNotSatisfiable
	case codeInternal:
		return http.StatusInternalServerError
	case codeNotImplemented:
		return http.StatusNotImplemented
	case codeSlowDown, codeUnavailable:
		return http.StatusServiceUnavailable
	case codeStorageFull:
		return http.StatusInsufficientStorage
	default:
		return http.StatusBadRequest
	}
}

// apiError is what a request is refused with.
type apiError struct {
	code    code
	message string
	err     error // the cause, for the log
	header  http.Header
	details []detail
}

// detail is an element of an error's document that only some errors have.
type detail struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

// Error returns "code: message".
func (e *apiError) Error() string { return string(e.code) + ": " + e.message }

// Unwrap returns the cause.
func (e *apiError) Unwrap() error { return e.err }

// refuse makes an apiError.
func refuse(c code, format string, args ...any) *apiError {
	return &apiError{code: c, message: fmt.Sprintf(format, args...)}
}

// with adds an element to the document.
func (e *apiError) with(name, value string) *apiError {
	e.details = append(e.details, detail{xml.Name{Local: name}, value})
	return e
}

// refuseArgument refuses an argument by its name.
func refuseArgument(name, value, format string, args ...any) *apiError {
	return refuse(codeInvalidArgument, format, args...).with("ArgumentName", name).with("ArgumentValue", value)
}

// codeOf is the one table from the kinds of the store to the codes of S3. What a missing thing is
// called depends on what was looked for: notFound says.
func codeOf(k granary.Kind, notFound code) code {
	switch k {
	case granary.KindNotFound:
		return notFound
	case granary.KindNotDir:
		return codeParentIsFile
	case granary.KindIsDir:
		return codeIsDirectory
	case granary.KindExists, granary.KindStale, granary.KindNotEmpty, granary.KindWouldBlock, granary.KindDeadlock:
		return codeOperationAborted
	case granary.KindPermission, granary.KindNotOwner:
		return codeAccessDenied
	case granary.KindLocked:
		return codeLocked
	case granary.KindFenced:
		return codeFenced
	case granary.KindBusy, granary.KindDelegated:
		return codeSlowDown
	case granary.KindUnavailable, granary.KindExpired:
		return codeUnavailable
	case granary.KindNoSpace:
		return codeStorageFull
	case granary.KindQuota:
		return codeQuota
	case granary.KindInvalid, granary.KindLoop:
		return codeInvalidArgument
	case granary.KindTooLarge, granary.KindFileTooLarge:
		return codeEntityTooLarge
	case granary.KindNameTooLong:
		return codeKeyTooLong
	case granary.KindCanceled:
		return codeRequestTimeout
	case granary.KindPrecondition:
		return codePrecondition
	case granary.KindNotSupported, granary.KindCrossDataset:
		return codeNotImplemented
	default: // Indeterminate, Corrupt, Internal …: a 500 that SDKs retry
		return codeInternal
	}
}

// explain turns any error into an apiError; notFound is the code for a missing thing.
func explain(err error, notFound code) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	kind := granary.KindOf(err)
	c := codeOf(kind, notFound)
	message := err.Error()
	switch c {
	case codeNoSuchKey:
		message = "The specified key does not exist."
	case codeNoSuchBucket:
		message = "The specified bucket does not exist"
	case codeNoSuchUpload:
		message = "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
	case codePrecondition:
		message = "At least one of the pre-conditions you specified did not hold."
	case codeParentIsFile:
		message = "A part of the key's path is an object here, and an object cannot hold others: " + message
	case codeIsDirectory:
		message = "The key names a directory, because other keys begin with it and a slash: " + message
	}
	return &apiError{code: c, message: message, err: err}
}

// errorDocument is the body of a refusal.
type errorDocument struct {
	XMLName   xml.Name `xml:"Error"`
	Code      code
	Message   messageText
	Details   []detail
	Key       string `xml:",omitempty"`
	Bucket    string `xml:"BucketName,omitempty"`
	Resource  string
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

// messageText is a text for people: its quotes stay as they are, as in AWS.
type messageText string

// MarshalXML implements xml.Marshaler.
func (t messageText) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(t)); err != nil {
		return err
	}
	return e.EncodeElement(struct {
		Text string `xml:",innerxml"`
	}{strings.NewReplacer("&#34;", `"`, "&#39;", "'").Replace(b.String())}, start)
}

// hostID is what answers tell of where they come from.
const hostID = "granary"
