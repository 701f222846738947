package s3

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// clockSkewMax is how far a client's clock may be off.
const clockSkewMax = 15 * time.Minute

// presignedExpiryMax is the longest life of a presigned URL.
const presignedExpiryMax = 7 * 24 * time.Hour

// identity is who asks, and what verifies the rest of the request.
type identity struct {
	caller   *caller
	payload  string // the x-amz-content-sha256 that was signed
	scope    scope
	dateTime string // as signed
	key      []byte // signing key
	seed     string // the request's signature: chunk signatures chain from it
	version2 bool   // the signature is of Version 2: there is neither a signing key, nor more of a scope than the access key
}

// authenticate verifies the signature of a request's head. The body is verified as it is read:
// body.go. Who does not sign is nobody, and may do what everybody may.
func (h *Handler) authenticate(r *http.Request, query url.Values) (identity, error) {
	authorization := r.Header.Get("Authorization")
	switch {
	case authorization != "" && (query.Has("X-Amz-Signature") || query.Has("Signature") && query.Has("AWSAccessKeyId")):
		return identity{}, refuse(codeInvalidArgument, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified.")
	case strings.HasPrefix(authorization, algorithmV4+" "):
		return h.authenticateHeader(r, query, authorization, r.Header.Get("X-Amz-Content-Sha256"))
	case query.Has("X-Amz-Signature") || query.Has("X-Amz-Algorithm"):
		return h.authenticateQuery(r, query)
	case strings.HasPrefix(authorization, algorithmV2+" "):
		return h.authenticateHeaderV2(r, query, authorization)
	case authorization != "":
		return identity{}, refuseArgument("Authorization", authorization, "Unsupported Authorization Type")
	case query.Has("Signature") && query.Has("AWSAccessKeyId"):
		return h.authenticateQueryV2(r, query)
	default:
		payload := r.Header.Get("X-Amz-Content-Sha256")
		if payload == "" {
			payload = payloadUnsigned
		}
		if payload == payloadChunked || payload == payloadTrailer { // signed by nobody
			return identity{}, accessDenied()
		}
		return identity{caller: anonymous(), payload: payload}, nil
	}
}

// authenticateHeader verifies a signature in the header, over a payload of which the hash is given.
func (h *Handler) authenticateHeader(r *http.Request, query url.Values, authorization, payload string) (identity, error) {
	claim, err := parseAuthorization(authorization)
	if err != nil {
		return identity{}, err
	}
	date, err := requestDate(r)
	if err != nil {
		return identity{}, err
	}
	if err := h.checkSkew(date); err != nil {
		return identity{}, err
	}
	if payload == "" {
		return identity{}, refuse(codeInvalidRequest, "Missing required header for this request: x-amz-content-sha256")
	}
	if err := checkPayloadHash(payload); err != nil {
		return identity{}, err
	}
	id := identity{payload: payload, scope: claim.scope, dateTime: date.Format(dateTimeFormat), seed: claim.signature}
	return h.verify(r, query, claim, id, false)
}

// checkSkew refuses a request that was signed at another time.
func (h *Handler) checkSkew(date time.Time) error {
	if skew := h.now().Sub(date).Abs(); skew > clockSkewMax {
		return refuse(codeTimeSkewed, "The difference between the request time and the current time is too large: the clocks differ by %s.", skew.Round(time.Second))
	}
	return nil
}

func (h *Handler) authenticateQuery(r *http.Request, query url.Values) (identity, error) {
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"} {
		if query.Get(name) == "" {
			return identity{}, refuse(codeAuthQuery, "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	if query.Get("X-Amz-Algorithm") != algorithmV4 {
		return identity{}, refuse(codeAuthQuery, "X-Amz-Algorithm only supports %q.", algorithmV4)
	}
	claim := signature{headers: strings.Split(query.Get("X-Amz-SignedHeaders"), ";"), signature: query.Get("X-Amz-Signature")}
	var wrong string
	if claim.scope, wrong = parseScope(query.Get("X-Amz-Credential")); wrong != "" {
		return identity{}, refuse(codeAuthQuery, "Error parsing the X-Amz-Credential parameter; %s", wrong)
	}
	date, err := time.Parse(dateTimeFormat, query.Get("X-Amz-Date"))
	if err != nil {
		return identity{}, refuse(codeAuthQuery, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\".")
	}
	seconds, err := strconv.ParseInt(query.Get("X-Amz-Expires"), 10, 64)
	switch {
	case err != nil:
		return identity{}, refuse(codeAuthQuery, "X-Amz-Expires should be a number")
	case seconds < 0:
		return identity{}, refuse(codeAuthQuery, "X-Amz-Expires must be non-negative")
	case seconds > int64(presignedExpiryMax/time.Second):
		return identity{}, refuse(codeAuthQuery, "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than %d seconds", int64(presignedExpiryMax/time.Second))
	}
	switch now := h.now(); {
	case date.After(now.Add(clockSkewMax)):
		return identity{}, refuse(codeAccessDenied, "Request is not yet valid.")
	case now.After(date.Add(time.Duration(seconds) * time.Second)):
		return identity{}, refuse(codeAccessDenied, "Request has expired.").with("X-Amz-Expires", strconv.FormatInt(seconds, 10)).
			with("Expires", date.Add(time.Duration(seconds)*time.Second).Format(time.RFC3339)).with("ServerTime", now.UTC().Format(time.RFC3339))
	}
	payload := payloadUnsigned
	if v := query.Get("X-Amz-Content-Sha256"); v != "" {
		payload = v
	} else if v := r.Header.Get("X-Amz-Content-Sha256"); v != "" { // signed by its place in the canonical request
		payload = v
	}
	id := identity{payload: payload, scope: claim.scope, dateTime: date.Format(dateTimeFormat), seed: claim.signature}
	return h.verify(r, query, claim, id, true)
}

// verify finds the key and compares the signature.
func (h *Handler) verify(r *http.Request, query url.Values, claim signature, id identity, presigned bool) (identity, error) {
	if claim.scope.date != id.dateTime[:len(dateFormat)] {
		c := codeAuthMalformed
		if presigned {
			c = codeAuthQuery
		}
		return identity{}, refuse(c, "Invalid credential date %q. This date is not the same as X-Amz-Date: %q.", claim.scope.date, id.dateTime[:len(dateFormat)])
	}
	if name := unsignedHeaders(r, claim.headers, presigned); name != "" {
		return identity{}, &apiError{code: codeAccessDenied, message: "There were headers present in the request which were not signed", err: fmt.Errorf("%s is not signed", name)}
	}
	token := r.Header.Get("X-Amz-Security-Token")
	if presigned {
		token = query.Get("X-Amz-Security-Token")
	}
	who, err := h.callerOf(r.Context(), claim.scope.accessKey, token)
	if err != nil {
		return identity{}, err
	}
	omit := ""
	if presigned {
		omit = "X-Amz-Signature"
	}
	id.caller, id.key = who, h.keys.of(who.secret, claim.scope)
	canonical := canonicalRequest(r, query, omit, claim.headers, id.payload)
	computed := hex.EncodeToString(hmacSHA256(id.key, stringToSign(id.dateTime, claim.scope, canonical)))
	if !sameSignature(computed, claim.signature) {
		h.log.Debug("signature does not match", "access_key", who.accessKey, "canonical_request", canonical)
		return identity{}, wrongSignature(claim.scope.accessKey, claim.signature)
	}
	return id, nil
}

// wrongSignature refuses a signature that is not what the request and the key give.
func wrongSignature(accessKey, provided string) *apiError {
	e := refuse(codeSignature, "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	return e.with("AWSAccessKeyId", accessKey).with("SignatureProvided", provided)
}

// presigned reports whether the signature is in the query.
func (q *request) presigned() bool {
	return q.query.Has("X-Amz-Signature") || q.identity.version2 && q.query.Has("Signature")
}

// requestDate returns the time at which a request says it was signed.
func requestDate(r *http.Request) (time.Time, error) {
	if v := r.Header.Get("X-Amz-Date"); v != "" {
		if t, err := time.Parse(dateTimeFormat, v); err == nil {
			return t, nil
		}
	} else if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		return t.UTC(), nil
	}
	return time.Time{}, refuse(codeAccessDenied, "AWS authentication requires a valid Date or x-amz-date header.")
}
