package web

import (
	"net/http"
	"slices"
	"testing"

	"github.com/dsorchard/granary"
)

func TestMkdir(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/a/b/", ""), http.StatusCreated)
	d.want(d.do("PUT", "/a/b/", ""), http.StatusOK)
	d.want(d.do("POST", "/a/c?mkdir", ""), http.StatusCreated)
	d.want(d.do("MKCOL", "/a/d", ""), http.StatusCreated)
	form := "Content-Type: application/x-www-form-urlencoded"
	w := d.want(d.do("POST", "/a/?mkdir", "name=e+%26+f", form, "Accept: text/html"), http.StatusSeeOther)
	if w.Header().Get("Location") != "/a/" {
		t.Error(w.Header())
	}
	d.want(d.do("POST", "/a/?mkdir", "name=..%2Fup", form), http.StatusBadRequest)
	d.want(d.do("POST", "/a/?mkdir", "name=", form), http.StatusBadRequest)
	d.want(d.do("POST", "/a/?mkdir=perhaps", ""), http.StatusBadRequest)
	if got := d.store.paths(); !slices.Equal(got, []string{"/", "/a", "/a/b", "/a/c", "/a/d", "/a/e & f"}) {
		t.Errorf("%q", got)
	}
	d.store.add("/file", granary.TypeRegular, nil)
	if w := d.do("MKCOL", "/file", ""); errorOf(t, w).Kind != granary.KindExists.String() {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDelete(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/dir/file", "x"), http.StatusCreated)
	d.want(d.do("PUT", "/dir/sub/file", "x"), http.StatusCreated)
	d.want(d.do("DELETE", "/none", ""), http.StatusNotFound)
	d.want(d.do("DELETE", "/none/", ""), http.StatusNotFound)
	d.want(d.do("DELETE", "/dir/file/", ""), http.StatusNotFound)
	d.want(d.do("DELETE", "/dir/file/below", ""), http.StatusNotFound)
	d.want(d.do("DELETE", "/dir/file", ""), http.StatusNoContent)
	d.want(d.do("DELETE", "/dir", ""), http.StatusConflict)
	d.want(d.do("DELETE", "/dir/", ""), http.StatusConflict)
	d.want(d.do("DELETE", "/dir?recursive=false", ""), http.StatusConflict)
	d.want(d.do("DELETE", "/dir?recursive=yes", ""), http.StatusBadRequest)
	d.want(d.do("DELETE", "/dir/?recursive=true", ""), http.StatusNoContent)
	d.want(d.do("DELETE", "/", ""), http.StatusForbidden)
	d.want(d.do("DELETE", "/?recursive", ""), http.StatusForbidden)
	if got := d.store.paths(); !slices.Equal(got, []string{"/"}) {
		t.Errorf("%q", got)
	}
}

func TestDeleteConditions(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/f", "old"), http.StatusCreated)
	d.want(d.do("MKCOL", "/dir", ""), http.StatusCreated)
	d.want(d.do("DELETE", "/f", "", `If-Match: "other"`), http.StatusPreconditionFailed)
	d.want(d.do("DELETE", "/none", "", "If-Match: *"), http.StatusPreconditionFailed)
	d.want(d.do("DELETE", "/dir", "", `If-Match: "other"`), http.StatusPreconditionFailed)
	d.want(d.do("DELETE", "/f", "", `If-Match: "`+md5Hex("old")+`"`), http.StatusNoContent)
	d.want(d.do("DELETE", "/dir", "", "If-Match: *"), http.StatusNoContent)
}

func TestRename(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/a", "x"), http.StatusCreated)
	d.want(d.do("POST", "/a?rename=/b%20b", ""), http.StatusCreated)
	d.want(d.do("POST", "/b%20b", "", "X-Granary-Rename-To: /c"), http.StatusCreated)
	w := d.want(d.do("MOVE", "/c", "", "Destination: http://example.com/d%20d"), http.StatusCreated)
	if w.Header().Get("Location") != "/d%20d" || d.store.data("/d d") != "x" {
		t.Error(w.Header(), d.store.paths())
	}
	d.want(d.do("PUT", "/e", "kept"), http.StatusCreated)
	d.want(d.do("MOVE", "/d%20d", "", "Destination: /e", "Overwrite: F"), http.StatusPreconditionFailed)
	d.want(d.do("MOVE", "/d%20d", "", "Destination: /f", "Overwrite: F"), http.StatusCreated)
	d.want(d.do("MOVE", "/f", "", "Destination: /e"), http.StatusOK)
	if d.store.data("/e") != "x" {
		t.Error("not replaced")
	}
	d.want(d.do("MOVE", "/e", "", "Destination: http://elsewhere.example/x"), http.StatusBadGateway)
	d.want(d.do("MOVE", "/e", ""), http.StatusBadRequest)
	d.want(d.do("MOVE", "/none", "", "Destination: /x"), http.StatusNotFound)
	d.want(d.do("POST", "/e?rename=", ""), http.StatusBadRequest)
	d.want(d.do("POST", "/e?rename=relative", ""), http.StatusBadRequest)
	d.want(d.do("POST", "/e?rename=/../..", ""), http.StatusForbidden)
	d.want(d.do("MOVE", "/", "", "Destination: /x"), http.StatusForbidden)
	d.want(d.do("MOVE", "/e", "", "Destination: /x", "If-Match: *"), http.StatusNotImplemented)
	if got := d.store.paths(); !slices.Equal(got, []string{"/", "/e"}) {
		t.Errorf("%q", got)
	}
}
