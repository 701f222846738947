package client

import (
	"context"
	"strings"

	"github.com/dsorchard/granary"
)

// ClassRules returns the rules of the storage classes that somebody has set, as they are now.
func (c *Client) ClassRules(ctx context.Context) (map[string]granary.ClassRule, error) {
	found, err := Ask[*granary.Found](ctx, c, &granary.Lookup{Base: granary.BucketsInode, Xattrs: true})
	if err != nil {
		return nil, err
	}
	rules := map[string]granary.ClassRule{}
	for _, x := range found.Xattrs {
		class, ok := strings.CutPrefix(x.Name, granary.XattrStorageClass)
		if !ok {
			continue
		}
		if rules[class], err = granary.ParseClassRule(x.Value); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

// ClassPolicy returns the policy of what is stored in a class in a directory that has the policy dir.
func (c *Client) ClassPolicy(ctx context.Context, dir granary.PolicyID, class string) (granary.PolicyID, error) {
	rules, err := c.ClassRules(ctx)
	if err != nil {
		return 0, err
	}
	return c.classPolicy(ctx, dir, class, rules)
}

// classPolicy is ClassPolicy by rules that were read before.
func (c *Client) classPolicy(ctx context.Context, dir granary.PolicyID, class string, rules map[string]granary.ClassRule) (granary.PolicyID, error) {
	if !granary.IsStorageClass(class) {
		return 0, granary.Errorf(granary.KindInvalid, "storage class", class, "there is no such class")
	}
	base, err := c.Policy(ctx, dir)
	if err != nil {
		return 0, err
	}
	rule, ok := rules[class]
	if !ok {
		rule = granary.DefaultClassRule(class)
	}
	p, err := rule.Over(base, class)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	id, ok := c.classes[p]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	r, err := c.Do(ctx, granary.Cred{}, &granary.SetPolicy{Policy: p})
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.classes[p] = r.Attr.Policy
	c.mu.Unlock()
	return r.Attr.Policy, nil
}
