package s3

import (
	"maps"
	"slices"
	"sync"
	"testing"
)

func (s *server) rename(t *testing.T, from, to string, header map[string]string) answer {
	t.Helper()
	all := map[string]string{"X-Amz-Rename-Source": from}
	maps.Copy(all, header)
	return s.do(t, call{method: "PUT", target: "/bucket/" + to + "?renameObject", header: all})
}

func TestRenameObject(t *testing.T) {
	s := newServer(t)
	put := s.do(t, call{method: "PUT", target: "/bucket/a/b/c%20d", body: "content", header: map[string]string{"X-Amz-Meta-Of": "it", "X-Amz-Tagging": "k=v"}}).want(t, 200)
	s.put(t, "there", "other")
	s.rename(t, "a/b/c%20d", "e//f", nil).want(t, 200)
	if keys := s.keys(t); !slices.Equal(keys, []string{"e//f", "there"}) {
		t.Fatal(keys)
	}
	got := s.do(t, call{method: "GET", target: "/bucket/e//f"}).want(t, 200)
	if got.body != "content" || got.header.Get("X-Amz-Meta-Of") != "it" || got.header.Get("X-Amz-Tagging-Count") != "1" || got.header.Get("Etag") != put.header.Get("Etag") {
		t.Fatal(got)
	}
	etag, date := put.header.Get("Etag"), got.header.Get("Last-Modified")
	const past = "Mon, 01 Jan 2001 00:00:00 GMT"
	for _, refused := range []map[string]string{
		{"If-None-Match": "*"}, {"If-Match": etag}, {"X-Amz-Rename-Source-If-Match": `"no"`}, {"X-Amz-Rename-Source-If-None-Match": etag},
		{"X-Amz-Rename-Source-If-Modified-Since": date}, {"X-Amz-Rename-Source-If-Unmodified-Since": past}, {"If-Unmodified-Since": past},
		{"If-Modified-Since": date},
	} {
		s.rename(t, "e//f", "there", refused).wantCode(t, codePrecondition)
	}
	s.rename(t, "none", "there", nil).wantCode(t, codeNoSuchKey)
	s.rename(t, "e/", "there", nil).wantCode(t, codeInvalidArgument)
	s.rename(t, "there", "dir/", nil).wantCode(t, codeInvalidArgument)
	s.rename(t, "", "there", nil).wantCode(t, codeInvalidArgument)
	s.rename(t, "there", "there", nil).want(t, 200)
	s.rename(t, "/bucket/e//f", "there", map[string]string{"If-Match": `"` + md5Hex("other") + `"`, "X-Amz-Rename-Source-If-Match": etag}).want(t, 200)
	s.rename(t, "there", "there/below", map[string]string{"If-Unmodified-Since": past, "X-Amz-Rename-Source-If-Unmodified-Since": date}).want(t, 200)
	if got := s.do(t, call{method: "GET", target: "/bucket/there/below"}).want(t, 200); got.body != "content" || !slices.Equal(s.keys(t), []string{"there/below"}) {
		t.Fatal(got, s.keys(t))
	}
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	s.rename(t, "there/below", "k", nil).wantCode(t, codeInvalidBucketState)
}

// TestRenameHasOneWinner renames one object to many keys, and many objects to one, at the same time.
func TestRenameHasOneWinner(t *testing.T) {
	s := newServer(t)
	keys := []string{"a", "b/c", "d", "e/f/g"}
	race := func(from, to func(key string) string, header map[string]string) map[int]int {
		statuses := make([]int, len(keys))
		var group sync.WaitGroup
		for i, key := range keys {
			group.Go(func() { statuses[i] = s.rename(t, from(key), to(key), header).status })
		}
		group.Wait()
		count := map[int]int{}
		for _, status := range statuses {
			count[status]++
		}
		return count
	}
	each, one := func(key string) string { return key }, func(string) string { return "one" }
	s.put(t, "one", "x")
	if got := race(one, each, nil); got[200] != 1 || got[404] != 3 {
		t.Fatal(got)
	}
	for _, key := range keys {
		s.put(t, key, key)
	}
	if got := race(each, one, map[string]string{"If-None-Match": "*"}); got[200] != 1 || got[412] != 3 || len(s.keys(t)) != 4 {
		t.Fatal(got, s.keys(t))
	}
}
