package s3

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// xattrWebsite keeps how a bucket is served as a website.
const xattrWebsite = xattrPrefix + "website"

// Limits of a website's configuration, as in AWS.
const (
	websiteSizeMax  = 128 << 10 // bytes of the document
	websiteRulesMax = 50
)

type (
	websiteConfiguration struct {
		XMLName     xml.Name         `xml:"WebsiteConfiguration"`
		Xmlns       string           `xml:"xmlns,attr,omitempty"`
		RedirectAll *websiteRedirect `xml:"RedirectAllRequestsTo"`
		Index       *websiteIndex    `xml:"IndexDocument"`
		Error       *websiteError    `xml:"ErrorDocument"`
		Rules       []websiteRule    `xml:"RoutingRules>RoutingRule"`
	}
	websiteIndex struct{ Suffix string }
	websiteError struct{ Key string }
	// websiteRule redirects requests, before the object is looked for or, if the condition is an error, instead of it.
	websiteRule struct {
		Condition *websiteCondition
		Redirect  websiteRedirect
	}
	websiteCondition struct {
		KeyPrefix string `xml:"KeyPrefixEquals,omitempty"`
		ErrorCode string `xml:"HttpErrorCodeReturnedEquals,omitempty"`
	}
	websiteRedirect struct {
		HostName      string  `xml:",omitempty"`
		Protocol      string  `xml:",omitempty"`
		Code          string  `xml:"HttpRedirectCode,omitempty"`
		ReplaceKey    *string `xml:"ReplaceKeyWith"`
		ReplacePrefix *string `xml:"ReplaceKeyPrefixWith"`
	}
)

// checkWebsite refuses what AWS refuses.
func checkWebsite(c *websiteConfiguration) error {
	c.XMLName, c.Xmlns = xml.Name{Local: "WebsiteConfiguration"}, xmlNamespace
	if all := c.RedirectAll; all != nil {
		if all.HostName == "" || all.Code != "" || all.ReplaceKey != nil || all.ReplacePrefix != nil || c.Index != nil || c.Error != nil || c.Rules != nil {
			return malformedXML()
		}
		return all.check()
	}
	switch {
	case c.Index == nil || c.Index.Suffix == "" || strings.Contains(c.Index.Suffix, "/"):
		suffix := ""
		if c.Index != nil {
			suffix = c.Index.Suffix
		}
		return refuseArgument("IndexDocument", suffix, "The IndexDocument Suffix is not well formed")
	case c.Error != nil && c.Error.Key == "":
		return refuseArgument("ErrorDocument", "", "The ErrorDocument Key is not well formed")
	case len(c.Rules) > websiteRulesMax:
		return refuse(codeInvalidRequest, "%d routing rules provided, the number of routing rules in a website configuration is limited to %d.", len(c.Rules), websiteRulesMax)
	}
	for i := range c.Rules {
		if err := c.Rules[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *websiteRule) check() error {
	switch {
	case r.Condition != nil && *r.Condition == websiteCondition{}, r.Redirect == websiteRedirect{}:
		return malformedXML()
	case r.Condition != nil && r.Condition.ErrorCode != "":
		n, err := strconv.Atoi(r.Condition.ErrorCode)
		if err != nil {
			return malformedXML()
		}
		if (n < 400 || n > 417) && (n < 500 || n > 505) {
			return refuse(codeInvalidRequest, "The provided HTTP error code (%d) is not valid. Valid codes are 4XX or 5XX.", n)
		}
	}
	return r.Redirect.check()
}

func (r *websiteRedirect) check() error {
	if r.Protocol != "" && r.Protocol != "http" && r.Protocol != "https" {
		return refuse(codeInvalidRequest, "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.")
	}
	if r.ReplaceKey != nil && r.ReplacePrefix != nil {
		return refuse(codeInvalidRequest, "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	}
	if r.Code == "" {
		return nil
	}
	n, err := strconv.Atoi(r.Code)
	if err != nil {
		return malformedXML()
	}
	switch n {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusNotModified, http.StatusUseProxy,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil
	}
	return refuse(codeInvalidRequest, "The provided HTTP redirect code (%d) is not valid. Valid codes are 3XX except 300.", n)
}

// rule returns the first rule that holds for a key and a status, 0 before the object has been looked for; nil for none.
func (c *websiteConfiguration) rule(key string, status int) *websiteRule {
	for i := range c.Rules {
		r := &c.Rules[i]
		condition := websiteCondition{}
		if r.Condition != nil {
			condition = *r.Condition
		}
		code := ""
		if status != 0 {
			code = strconv.Itoa(status)
		}
		if condition.ErrorCode == code && strings.HasPrefix(key, condition.KeyPrefix) {
			return r
		}
	}
	return nil
}

// target returns where a redirect leads to from a key, which a rule matched by a prefix, and with which status.
func (r *websiteRedirect) target(from *http.Request, key, prefix string) (url string, status int) {
	switch {
	case r.ReplaceKey != nil:
		key = *r.ReplaceKey
	case r.ReplacePrefix != nil:
		key = *r.ReplacePrefix + strings.TrimPrefix(key, prefix)
	}
	protocol, host := r.Protocol, r.HostName
	if protocol == "" {
		protocol = "http"
		if from.TLS != nil {
			protocol = "https"
		}
	}
	if host == "" {
		host = from.Host
	}
	url = protocol + "://" + host + "/" + uriEncode(key, true)
	if from.URL.RawQuery != "" {
		url += "?" + from.URL.RawQuery
	}
	if status = http.StatusMovedPermanently; r.Code != "" {
		status, _ = strconv.Atoi(r.Code) // it was checked when it was set
	}
	return url, status
}
