package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"

	"golang.org/x/net/webdav"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// davProperty is what an attribute by the name of filer.XattrProperty holds: a property that means something to clients alone. A
// client may have many, and each is an attribute of its own, so that those who set different ones at once do not undo each other.
type davProperty struct {
	Space string `json:"space"`
	Local string `json:"local"`
	Lang  string `json:"lang,omitempty"`
	XML   string `json:"xml"`
}

// davPropertiesMax bounds the properties of a file.
const davPropertiesMax = 256

func propertyName(name xml.Name) string {
	sum := sha256.Sum256([]byte(name.Space + "\x00" + name.Local))
	return filer.XattrProperty + hex.EncodeToString(sum[:16])
}

// properties returns those attributes that are properties.
func properties(info *filer.Info) (list []granary.Xattr) {
	for _, x := range info.Xattrs {
		if strings.HasPrefix(x.Name, filer.XattrProperty) {
			list = append(list, x)
		}
	}
	return list
}

// DeadProps implements webdav.DeadPropsHolder.
func (f *davFile) DeadProps() (map[xml.Name]webdav.Property, error) {
	props := map[xml.Name]webdav.Property{}
	for _, x := range properties(f.info.info) {
		var p davProperty
		if err := json.Unmarshal(x.Value, &p); err != nil {
			return nil, f.d.refuse(granary.Errorf(granary.KindCorrupt, "webdav", f.info.path, "%s: %w", x.Name, err))
		}
		name := xml.Name{Space: p.Space, Local: p.Local}
		props[name] = webdav.Property{XMLName: name, Lang: p.Lang, InnerXML: []byte(p.XML)}
	}
	return props, nil
}

// Patch implements webdav.DeadPropsHolder. What is refused is refused before anything is changed.
func (f *davFile) Patch(patches []webdav.Proppatch) ([]webdav.Propstat, error) {
	values, err := f.patched(patches)
	if err != nil {
		return nil, f.d.refuse(err)
	}
	fs, ctx, ino := f.d.q.h.fs, f.d.context(f.ctx), f.info.info.Attr.Inode
	// The attributes are the door's own: it sets them for whoever may write to the file.
	if err := f.d.q.permit(ino, granary.AccessWrite); err != nil {
		return nil, f.d.refuse(err)
	}
	done := webdav.Propstat{Status: http.StatusOK}
	for _, patch := range patches {
		for _, p := range patch.Props {
			name := propertyName(p.XMLName)
			if patch.Remove {
				err = fs.RemoveXattr(ctx, self(), ino, name)
				if granary.IsKind(err, granary.KindNoData) { // what is not there is removed: RFC 4918, 14.23
					err = nil
				}
			} else {
				err = fs.SetXattr(ctx, self(), &granary.SetXattr{Inode: ino, Xattr: granary.Xattr{Name: name, Value: values[p.XMLName]}})
			}
			if err != nil {
				return nil, f.d.refuse(err)
			}
			done.Props = append(done.Props, webdav.Property{XMLName: p.XMLName})
		}
	}
	return []webdav.Propstat{done}, nil
}

// patched returns what is to be kept of the properties that are set.
func (f *davFile) patched(patches []webdav.Proppatch) (map[xml.Name][]byte, error) {
	values := map[xml.Name][]byte{}
	for _, patch := range patches {
		for _, p := range patch.Props {
			if patch.Remove {
				continue
			}
			text, err := json.Marshal(davProperty{p.XMLName.Space, p.XMLName.Local, p.Lang, string(p.InnerXML)})
			if err != nil {
				return nil, err
			}
			values[p.XMLName] = text
			if len(text) > granary.XattrValueMax || len(values)+len(properties(f.info.info)) > davPropertiesMax {
				return nil, granary.Errorf(granary.KindTooLarge, "webdav", f.info.path, "at most %d properties of %d bytes", davPropertiesMax, granary.XattrValueMax)
			}
		}
	}
	return values, nil
}
