package s3

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signature Version 2, which URLs presigned by clients without a region of their own have, and old clients:
// https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
//
// It covers the method, the path, the date, all x-amz- headers, and the parameters that make a request mean something else; of
// the body nothing. Here it covers x-amz- parameters, too, which clients move there from headers: what is not covered is not taken.
const algorithmV2 = "AWS"

// authenticateHeaderV2 verifies a signature in the header.
func (h *Handler) authenticateHeaderV2(r *http.Request, query url.Values, authorization string) (identity, error) {
	claim := strings.TrimPrefix(authorization, algorithmV2+" ")
	colon := strings.LastIndexByte(claim, ':')
	if colon < 1 || colon == len(claim)-1 {
		return identity{}, refuseArgument("Authorization", authorization, "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")
	}
	date, text := r.Header.Get("X-Amz-Date"), ""
	if date == "" {
		date = r.Header.Get("Date")
		text = date
	}
	signed, err := parseDateV2(date)
	if err != nil {
		return identity{}, err
	}
	if err := h.checkSkew(signed); err != nil {
		return identity{}, err
	}
	id := identity{scope: scope{accessKey: claim[:colon]}, dateTime: signed.UTC().Format(dateTimeFormat), seed: claim[colon+1:]}
	return h.verifyV2(r, query, id, text, r.Header.Get("X-Amz-Security-Token"))
}

// parseDateV2 reads a date as clients write it there.
func parseDateV2(text string) (time.Time, error) {
	for _, format := range []string{http.TimeFormat, time.RFC1123Z, dateTimeFormat, time.RFC850, time.ANSIC} {
		if t, err := time.Parse(format, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, refuse(codeAccessDenied, "AWS authentication requires a valid Date or x-amz-date header.")
}

// authenticateQueryV2 verifies a presigned URL.
func (h *Handler) authenticateQueryV2(r *http.Request, query url.Values) (identity, error) {
	expires := query.Get("Expires")
	if query.Get("AWSAccessKeyId") == "" || query.Get("Signature") == "" || expires == "" {
		return identity{}, refuse(codeAccessDenied, "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters.")
	}
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if err != nil {
		return identity{}, refuse(codeAccessDenied, "Invalid date (should be seconds since epoch): %s", expires)
	}
	if now := h.now(); now.Unix() > seconds {
		return identity{}, refuse(codeAccessDenied, "Request has expired.").
			with("Expires", time.Unix(seconds, 0).UTC().Format(time.RFC3339)).with("ServerTime", now.UTC().Format(time.RFC3339))
	}
	token := r.Header.Get("X-Amz-Security-Token")
	if token == "" {
		token = query.Get("x-amz-security-token")
	}
	id := identity{scope: scope{accessKey: query.Get("AWSAccessKeyId")}, seed: query.Get("Signature")}
	return h.verifyV2(r, query, id, expires, token)
}

// verifyV2 finds the key and compares the signature. The date is that of the string to sign: of the request, or when it expires.
func (h *Handler) verifyV2(r *http.Request, query url.Values, id identity, date, token string) (identity, error) {
	id.version2, id.payload = true, payloadUnsigned
	if payload := r.Header.Get("X-Amz-Content-Sha256"); payload != "" {
		if payload == payloadChunked || payload == payloadTrailer { // they chain from a signature of Version 4
			return identity{}, refuse(codeInvalidRequest, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
		}
		if err := checkPayloadHash(payload); err != nil {
			return identity{}, err
		}
		id.payload = payload
	}
	who, err := h.callerOf(r.Context(), id.scope.accessKey, token)
	if err != nil {
		return identity{}, err
	}
	id.caller = who
	text := h.stringToSignV2(r, query, date)
	if !sameSignature(signV2(who.secret, text), id.seed) {
		h.log.Debug("signature does not match", "access_key", who.accessKey, "string_to_sign", text)
		return identity{}, wrongSignature(id.scope.accessKey, id.seed).with("StringToSign", text)
	}
	return id, nil
}

// signV2 is the signature of a text.
func signV2(secretKey, text string) string {
	mac := hmac.New(sha1.New, []byte(secretKey))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// stringToSignV2 is what a signature is of.
func (h *Handler) stringToSignV2(r *http.Request, query url.Values, date string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n")
	for _, name := range []string{"Content-Md5", "Content-Type"} {
		value := r.Header.Get(name)
		if value == "" {
			value = query.Get(strings.ToLower(name)) // where clients put it that presign
		}
		b.WriteString(value + "\n")
	}
	b.WriteString(date + "\n" + canonicalAmz(r.Header, query))
	if bucket, ok := h.hostBucket(r); ok {
		b.WriteString("/" + bucket)
	}
	b.WriteString(r.URL.EscapedPath())
	separator := byte('?')
	for _, name := range signedParameters(query) {
		b.WriteByte(separator)
		b.WriteString(name)
		if value := query.Get(name); value != "" {
			b.WriteString("=" + value)
		}
		separator = '&'
	}
	return b.String()
}

// canonicalAmz returns the x-amz- headers and parameters, a line each.
func canonicalAmz(header http.Header, query url.Values) string {
	values := map[string][]string{}
	for _, of := range []map[string][]string{header, query} {
		for name, all := range of {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
				for _, v := range all {
					values[lower] = append(values[lower], strings.Join(strings.Fields(v), " "))
				}
			}
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(name + ":" + strings.Join(values[name], ",") + "\n")
	}
	return b.String()
}

// signedParameters returns the parameters of a query that a signature covers, sorted: all that make a request another one.
func signedParameters(query url.Values) []string {
	var names []string
	for name := range query {
		if name == "partNumber" || name == "versionId" || strings.HasPrefix(name, "response-") || slices.Contains(subresources(), name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
