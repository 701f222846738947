package s3

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/dsorchard/granary/filer/accounts"
	"github.com/dsorchard/granary/filer/iam"
)

// formSizeMax bounds the form of a request to IAM or STS.
const formSizeMax = 1 << 20

// asksAccounts reports whether a request is one to IAM or STS: a form that is posted to no bucket.
func (q *request) asksAccounts() bool {
	kind, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	return q.r.Method == http.MethodPost && q.bucket == "" && err == nil && kind == "application/x-www-form-urlencoded"
}

// serveAccounts answers a request to IAM or STS.
func (q *request) serveAccounts() {
	q.w.Header().Set("X-Amzn-Requestid", q.id)
	q.w.Header().Set("Content-Type", "text/xml")
	action, document, err := q.callAccounts()
	if err != nil {
		e := q.accountsError(action, err)
		q.h.log.Debug("request refused", "request_id", q.id, "action", action, "code", e.Code, "error", err)
		q.w.WriteHeader(e.Status)
		document = accounts.ErrorDocument(e, accounts.STS(action), q.id)
	}
	if _, err := q.w.Write(bytes.ReplaceAll(document, []byte(accounts.RequestIDMark), []byte(q.id))); err != nil {
		q.h.log.Debug("client went away", "request_id", q.id, "error", err)
	}
}

func (q *request) callAccounts() (action string, document []byte, err error) {
	body, err := io.ReadAll(io.LimitReader(q.r.Body, formSizeMax+1))
	if err != nil {
		return "", nil, incomplete(err)
	}
	if len(body) > formSizeMax {
		return "", nil, refuse(codeEntityTooLarge, "The form has more than %d bytes.", formSizeMax)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil, refuse(codeInvalidRequest, "Could not parse the form.")
	}
	action = form.Get("Action")
	if q.identity, err = q.authenticateForm(string(body)); err != nil {
		return action, nil, err
	}
	call := &accounts.Call{Action: action, Params: form, Caller: q.accountsCaller()}
	document, err = q.h.accounts.Serve(q.r.Context(), call)
	return action, document, err
}

// authenticateForm verifies the signature of a form, which covers its body.
func (q *request) authenticateForm(body string) (identity, error) {
	authorization := q.r.Header.Get("Authorization")
	if authorization == "" {
		return identity{caller: anonymous()}, nil
	}
	hash := hexSHA256(body)
	if claimed := q.r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && !strings.EqualFold(claimed, hash) {
		return identity{}, refuse(codeContentSHA256, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return q.h.authenticateHeader(q.r, q.query, authorization, hash)
}

// accountsCaller tells IAM and STS who asks.
func (q *request) accountsCaller() *accounts.Caller {
	c := q.identity.caller
	if c.principal.Anonymous {
		return &accounts.Caller{Anonymous: true}
	}
	keys := func() map[string][]string { return q.h.globalKeys(c, q.r.RemoteAddr, q.r.TLS != nil) }
	a := &accounts.Caller{
		Root: c.root && c.session == nil, Temporary: c.temporary, User: c.name, ID: c.id, ARN: c.principal.ARNs[0], AccessKey: c.accessKey,
		Principal: c.principal, Keys: keys,
		Decide: func(action, resource string) iam.Decision {
			return c.decide(&iam.Request{Action: action, Resource: resource, Principal: c.principal, Keys: keys()})
		},
	}
	if c.root {
		a.User = ""
	}
	return a
}

// decide tells what a caller's own policies say.
func (c *caller) decide(r *iam.Request) iam.Decision {
	decision := iam.Neutral
	if c.root {
		decision = iam.Allowed
	}
	for _, p := range c.policies {
		decision = max(decision, p.Evaluate(r))
	}
	if c.session == nil || decision == iam.Denied {
		return decision
	}
	switch iam.Bound(c.session, r) {
	case iam.Denied:
		return iam.Denied
	case iam.Neutral:
		return iam.Neutral
	}
	return decision
}

// accountsError is how IAM and STS refuse.
func (q *request) accountsError(action string, err error) *accounts.Error {
	var own *accounts.Error
	if errors.As(err, &own) {
		return own
	}
	e := explain(err, codeNoSuchKey)
	switch e.code {
	case codeInvalidAccessKey, codeInvalidToken:
		return &accounts.Error{Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid.", Status: http.StatusForbidden}
	case codeAccessDenied, codeSignature, codeExpiredToken, codeTimeSkewed, codeUnavailable, codeSlowDown:
		return &accounts.Error{Code: string(e.code), Message: e.message, Status: e.code.status()}
	}
	if status := e.code.status(); status < 500 {
		return &accounts.Error{Code: string(e.code), Message: e.message, Status: status}
	}
	q.h.log.Warn("request failed", "request_id", q.id, "action", action, "error", err)
	return &accounts.Error{Code: "ServiceFailure", Message: "The request processing has failed because of an internal error.", Status: http.StatusInternalServerError}
}
