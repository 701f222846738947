package iam

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func mustParse(t testing.TB, kind Kind, document string) *Policy {
	t.Helper()
	p, err := Parse([]byte(document), kind)
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	return p
}

// statementOf makes a policy of one statement.
func statementOf(members string) string {
	return `{"Version":"2012-10-17","Statement":[{` + members + `}]}`
}

const readAll = `"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::b/*"`

func TestMalformed(t *testing.T) {
	for name, c := range map[string]struct {
		kind     Kind
		document string
	}{
		"empty":              {OfIdentity, ``},
		"no object":          {OfIdentity, `[]`},
		"two documents":      {OfIdentity, statementOf(readAll) + `{}`},
		"trailing":           {OfIdentity, statementOf(readAll) + `x`},
		"no statements":      {OfIdentity, `{"Version":"2012-10-17","Statement":[]}`},
		"no statement":       {OfIdentity, `{"Version":"2012-10-17"}`},
		"version":            {OfIdentity, `{"Version":"2013-10-17","Statement":[{` + readAll + `}]}`},
		"unknown":            {OfIdentity, `{"Version":"2012-10-17","Else":1,"Statement":[{` + readAll + `}]}`},
		"unknown in one":     {OfIdentity, statementOf(readAll + `,"Resources":"*"`)},
		"case":               {OfIdentity, statementOf(`"effect":"Allow","Action":"s3:*","Resource":"*"`)},
		"twice":              {OfIdentity, statementOf(readAll + `,"Action":"s3:*"`)},
		"effect":             {OfIdentity, statementOf(`"Effect":"allow","Action":"s3:*","Resource":"*"`)},
		"no effect":          {OfIdentity, statementOf(`"Action":"s3:*","Resource":"*"`)},
		"no action":          {OfIdentity, statementOf(`"Effect":"Allow","Resource":"*"`)},
		"both actions":       {OfIdentity, statementOf(readAll + `,"NotAction":"s3:*"`)},
		"action":             {OfIdentity, statementOf(`"Effect":"Allow","Action":"GetObject","Resource":"*"`)},
		"empty actions":      {OfIdentity, statementOf(`"Effect":"Allow","Action":[],"Resource":"*"`)},
		"action number":      {OfIdentity, statementOf(`"Effect":"Allow","Action":[1],"Resource":"*"`)},
		"no resource":        {OfIdentity, statementOf(`"Effect":"Allow","Action":"s3:*"`)},
		"resource":           {OfIdentity, statementOf(`"Effect":"Allow","Action":"s3:*","Resource":"b/*"`)},
		"principal":          {OfIdentity, statementOf(readAll + `,"Principal":"*"`)},
		"no principal":       {OfResource, statementOf(readAll)},
		"principal text":     {OfResource, statementOf(readAll + `,"Principal":"ann"`)},
		"principal wildcard": {OfResource, statementOf(readAll + `,"Principal":{"AWS":"arn:aws:iam::1:user/*"}`)},
		"principal kind":     {OfResource, statementOf(readAll + `,"Principal":{"Aws":"*"}`)},
		"principal null":     {OfResource, statementOf(readAll + `,"Principal":null`)},
		"principal empty":    {OfResource, statementOf(readAll + `,"Principal":{}`)},
		"trust resource":     {OfTrust, statementOf(readAll + `,"Principal":"*"`)},
		"sid":                {OfIdentity, statementOf(readAll + `,"Sid":"a b"`)},
		"sids":               {OfIdentity, `{"Statement":[{"Sid":"a",` + readAll + `},{"Sid":"a",` + readAll + `}]}`},
		"operator":           {OfIdentity, statementOf(readAll + `,"Condition":{"StringIs":{"a:b":"c"}}`)},
		"null if exists":     {OfIdentity, statementOf(readAll + `,"Condition":{"NullIfExists":{"a:b":"true"}}`)},
		"key":                {OfIdentity, statementOf(readAll + `,"Condition":{"StringEquals":{"b":"c"}}`)},
		"number":             {OfIdentity, statementOf(readAll + `,"Condition":{"NumericEquals":{"a:b":"c"}}`)},
		"date":               {OfIdentity, statementOf(readAll + `,"Condition":{"DateEquals":{"a:b":"c"}}`)},
		"address":            {OfIdentity, statementOf(readAll + `,"Condition":{"IpAddress":{"a:b":"10.0.0.0/33"}}`)},
		"bool":               {OfIdentity, statementOf(readAll + `,"Condition":{"Bool":{"a:b":"yes"}}`)},
		"value":              {OfIdentity, statementOf(readAll + `,"Condition":{"StringEquals":{"a:b":{}}}`)},
		"variable":           {OfIdentity, statementOf(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username"`)},
		"long":               {OfIdentity, statementOf(readAll + `,"Sid":"` + strings.Repeat("a", SizeMax) + `"`)},
	} {
		_, err := Parse([]byte(c.document), c.kind)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asked is what the cases of TestEvaluate ask for, if they do not say otherwise.
func asked() *Request {
	return &Request{
		Action: "s3:GetObject", Resource: "arn:aws:s3:::b/home/ann/f",
		Principal: Principal{Account: "000000000000", ARNs: []string{"arn:aws:iam::000000000000:user/ann"}},
		Keys: map[string][]string{
			"aws:username": {"ann"}, "aws:sourceip": {"10.1.2.3"}, "aws:currenttime": {"2026-01-02T03:04:05Z"}, "s3:prefix": {"home/ann/"},
			"s3:max-keys": {"10"}, "aws:securetransport": {"false"}, "s3:requestobjecttagkeys": {"a", "b"}, "aws:principalarn": {"arn:aws:iam::000000000000:user/ann"},
		},
	}
}

func TestEvaluate(t *testing.T) {
	const who = `,"Principal":"*"`
	for name, c := range map[string]struct {
		statement string
		want      Decision
	}{
		"allow":                 {readAll, Allowed},
		"any case":              {`"Effect":"Allow","Action":"S3:getobject","Resource":"*"`, Allowed},
		"all":                   {`"Effect":"Allow","Action":"*","Resource":"*"`, Allowed},
		"deny":                  {`"Effect":"Deny","Action":"s3:*","Resource":"*"`, Denied},
		"other action":          {`"Effect":"Allow","Action":"s3:Put*","Resource":"*"`, Neutral},
		"not action":            {`"Effect":"Allow","NotAction":"s3:Put*","Resource":"*"`, Allowed},
		"not this action":       {`"Effect":"Allow","NotAction":"s3:Get*","Resource":"*"`, Neutral},
		"other resource":        {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b"`, Neutral},
		"resource case":         {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::B/*"`, Neutral},
		"not resource":          {`"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::c/*"`, Allowed},
		"variable":              {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${aws:username}/*"`, Allowed},
		"variable in any case":  {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${AWS:UserName}/*"`, Allowed},
		"unknown variable":      {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${aws:nothing}/*"`, Neutral},
		"default":               {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${aws:nothing, 'ann'}/*"`, Allowed},
		"star itself":           {`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${*}"`, Neutral},
		"equal":                 {readAll + `,"Condition":{"StringEquals":{"aws:username":["bob","ann"]}}`, Allowed},
		"equal to a variable":   {readAll + `,"Condition":{"StringEquals":{"s3:prefix":"home/${aws:username}/"}}`, Allowed},
		"not equal":             {readAll + `,"Condition":{"StringEquals":{"aws:username":"Ann"}}`, Neutral},
		"ignore case":           {readAll + `,"Condition":{"StringEqualsIgnoreCase":{"aws:username":"Ann"}}`, Allowed},
		"not equals":            {readAll + `,"Condition":{"StringNotEquals":{"aws:username":["ann","bob"]}}`, Neutral},
		"not equals missing":    {readAll + `,"Condition":{"StringNotEquals":{"aws:nothing":"ann"}}`, Allowed},
		"missing":               {readAll + `,"Condition":{"StringEquals":{"aws:nothing":"ann"}}`, Neutral},
		"if exists":             {readAll + `,"Condition":{"StringEqualsIfExists":{"aws:nothing":"ann"}}`, Allowed},
		"if exists other":       {readAll + `,"Condition":{"StringEqualsIfExists":{"aws:username":"bob"}}`, Neutral},
		"like":                  {readAll + `,"Condition":{"StringLike":{"s3:prefix":"home/*"}}`, Allowed},
		"not like":              {readAll + `,"Condition":{"StringNotLike":{"s3:prefix":"home/*"}}`, Neutral},
		"two keys":              {readAll + `,"Condition":{"StringEquals":{"aws:username":"ann","s3:prefix":"x"}}`, Neutral},
		"two operators":         {readAll + `,"Condition":{"StringEquals":{"aws:username":"ann"},"NumericLessThanEquals":{"s3:max-keys":10}}`, Allowed},
		"less":                  {readAll + `,"Condition":{"NumericLessThan":{"s3:max-keys":"10"}}`, Neutral},
		"greater":               {readAll + `,"Condition":{"NumericGreaterThan":{"s3:max-keys":"9.5"}}`, Allowed},
		"before":                {readAll + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-03T00:00:00Z"}}`, Allowed},
		"after":                 {readAll + `,"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-03T00:00:00Z"}}`, Neutral},
		"bool":                  {readAll + `,"Condition":{"Bool":{"aws:SecureTransport":false}}`, Allowed},
		"address":               {readAll + `,"Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","10.0.0.0/8"]}}`, Allowed},
		"not address":           {readAll + `,"Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","10.0.0.0/8"]}}`, Neutral},
		"other address":         {readAll + `,"Condition":{"IpAddress":{"aws:SourceIp":"10.1.2.4"}}`, Neutral},
		"arn":                   {readAll + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/a*"}}`, Allowed},
		"arn of other parts":    {readAll + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:*user/ann"}}`, Neutral},
		"null":                  {readAll + `,"Condition":{"Null":{"aws:nothing":"true"}}`, Allowed},
		"not null":              {readAll + `,"Condition":{"Null":{"aws:username":"false"}}`, Allowed},
		"any value":             {readAll + `,"Condition":{"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["b","c"]}}`, Allowed},
		"any value, none":       {readAll + `,"Condition":{"ForAnyValue:StringEquals":{"aws:nothing":["b","c"]}}`, Neutral},
		"all values":            {readAll + `,"Condition":{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["b","c"]}}`, Neutral},
		"all values, more":      {readAll + `,"Condition":{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b","c"]}}`, Allowed},
		"all values, none":      {readAll + `,"Condition":{"ForAllValues:StringEquals":{"aws:nothing":["b","c"]}}`, Allowed},
		"everybody":             {readAll + who, Allowed},
		"everybody in AWS":      {readAll + `,"Principal":{"AWS":["*"]}`, Allowed},
		"user":                  {readAll + `,"Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"}`, Allowed},
		"another user":          {readAll + `,"Principal":{"AWS":"arn:aws:iam::000000000000:user/bob"}`, Neutral},
		"the account decides":   {readAll + `,"Principal":{"AWS":"000000000000"}`, Neutral},
		"the account is denied": {`"Effect":"Deny","Action":"s3:*","Resource":"*","Principal":{"AWS":"arn:aws:iam::000000000000:root"}`, Denied},
		"all but one":           {`"Effect":"Deny","Action":"s3:*","Resource":"*","NotPrincipal":{"AWS":"arn:aws:iam::000000000000:user/ann"}`, Neutral},
		"all but another":       {`"Effect":"Deny","Action":"s3:*","Resource":"*","NotPrincipal":{"AWS":["000000000000","arn:aws:iam::000000000000:user/bob"]}`, Denied},
	} {
		kind := OfIdentity
		if strings.Contains(c.statement, "Principal\"") {
			kind = OfResource
		}
		if got := mustParse(t, kind, statementOf(c.statement)).Evaluate(asked()); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
}

func TestDecide(t *testing.T) {
	allow, deny := mustParse(t, OfIdentity, statementOf(readAll)), mustParse(t, OfIdentity, statementOf(`"Effect":"Deny","Action":"s3:*","Resource":"*"`))
	other := mustParse(t, OfIdentity, statementOf(`"Effect":"Allow","Action":"s3:Put*","Resource":"*"`))
	public := mustParse(t, OfResource, statementOf(readAll+`,"Principal":"*"`))
	closed := mustParse(t, OfResource, statementOf(`"Effect":"Deny","Action":"s3:*","Resource":"*","Principal":"*"`))
	for name, c := range map[string]struct {
		p    Policies
		want bool
	}{
		"nothing":                      {Policies{}, false},
		"identity":                     {Policies{Identity: []*Policy{other, allow}}, true},
		"denied after allowed":         {Policies{Identity: []*Policy{allow, deny}}, false},
		"resource":                     {Policies{Resource: public}, true},
		"resource denies":              {Policies{Identity: []*Policy{allow}, Resource: closed}, false},
		"identity denies":              {Policies{Identity: []*Policy{deny}, Resource: public}, false},
		"root":                         {Policies{Root: true}, true},
		"root is denied":               {Policies{Root: true, Resource: closed}, false},
		"session allows":               {Policies{Identity: []*Policy{allow}, Session: []*Policy{allow}}, true},
		"sessions allow together":      {Policies{Identity: []*Policy{allow}, Session: []*Policy{other, allow}}, true},
		"session of nothing":           {Policies{Identity: []*Policy{allow}, Session: []*Policy{}}, false},
		"session gives nothing":        {Policies{Session: []*Policy{allow}}, false},
		"session bounds":               {Policies{Identity: []*Policy{allow}, Session: []*Policy{other}}, false},
		"session bounds the resource":  {Policies{Resource: public, Session: []*Policy{other}}, false},
		"session bounds root":          {Policies{Root: true, Session: []*Policy{other}}, false},
		"granted":                      {Policies{Granted: true}, true},
		"granted, denied all the same": {Policies{Granted: true, Resource: closed}, false},
	} {
		if got := Decide(c.p, asked()); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPublic(t *testing.T) {
	for statement, want := range map[string]bool{
		readAll + `,"Principal":"*"`:                                                                              true,
		readAll + `,"Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"}`:                                     false,
		readAll + `,"NotPrincipal":{"AWS":"arn:aws:iam::000000000000:user/ann"}`:                                  true,
		readAll + `,"Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`:                      false,
		readAll + `,"Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`:                       true,
		readAll + `,"Principal":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"000000000000"}}`:      true,
		readAll + `,"Principal":"*","Condition":{"StringLike":{"aws:PrincipalArn":"*"}}`:                          true,
		readAll + `,"Principal":"*","Condition":{"StringLike":{"s3:prefix":"a"}}`:                                 true,
		`"Effect":"Deny","Action":"s3:*","Resource":"*","Principal":"*"`:                                          false,
		readAll + `,"Principal":"*","Condition":{"StringEqualsIfExists":{"aws:PrincipalAccount":"000000000000"}}`: true,
	} {
		if got := mustParse(t, OfResource, statementOf(statement)).Public(); got != want {
			t.Errorf("%s: %v", statement, got)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"*a*b*", "xxaxxbxx", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"**", "x", true}, {"a*", "ba", false}, {"*.txt", "a.txt.txt", true},
	} {
		if got := match(c.pattern, c.s, nil); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.s, got)
		}
	}
	if match("a*", "ab", []bool{false, true}) || !match("a*", "a*", []bool{false, true}) {
		t.Error("a literal star is a pattern")
	}
}

// FuzzParse holds that a document which is taken is JSON, and is decided about without a panic.
func FuzzParse(f *testing.F) {
	f.Add(statementOf(readAll), 0)
	f.Add(statementOf(readAll+`,"Principal":{"AWS":["*"]},"Condition":{"ForAnyValue:StringLikeIfExists":{"a:b":["c${aws:username}*",1,true]}}`), 1)
	f.Add(statementOf(`"Effect":"Deny","NotAction":"sts:*","NotPrincipal":{"Federated":"x"}`), 2)
	f.Fuzz(func(t *testing.T, document string, kind int) {
		p, err := Parse([]byte(document), Kind(uint(kind)%3))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid([]byte(document)) {
			t.Fatal("not JSON")
		}
		p.Evaluate(asked())
		p.Public()
	})
}
