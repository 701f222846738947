package s3

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// xattrParts keeps the sizes of the parts that an object was completed of: "COUNTxSIZE", with commas between. It goes when the
// content changes.
const xattrParts = granary.XattrContentPrefix + "parts"

// xattrPartSums keeps the checksums of those parts: the name of the algorithm, a space, and the raw checksums one behind the other.
const xattrPartSums = granary.XattrContentPrefix + "part-sums"

// xattrCompleted keeps the id of the upload that an object was completed of, so that a completion whose answer was lost can be repeated.
const xattrCompleted = granary.XattrContentPrefix + "upload"

// partsAttributes returns the attributes of an object's parts; what would be too long is left out.
func partsAttributes(m *multipart, chosen []part) []granary.Xattr {
	xattrs := append(partsAttribute(chosen), granary.Xattr{Name: xattrCompleted, Value: []byte(m.id)})
	if m.unasked || len(xattrs) < 2 {
		return xattrs
	}
	value := []byte(string(m.algorithm) + " ")
	for _, p := range chosen {
		raw, err := base64.StdEncoding.DecodeString(p.checksum)
		if err != nil || len(value)+len(raw) > granary.XattrValueMax {
			return xattrs
		}
		value = append(value, raw...)
	}
	return append(xattrs, granary.Xattr{Name: xattrPartSums, Value: value})
}

// partSums returns the checksums of the parts of an object; nil if they are not known.
func partSums(info *filer.Info) (a algorithm, sums []string) {
	v, _ := info.Xattr(xattrPartSums)
	name, raw, _ := bytes.Cut(v, []byte(" "))
	a, ok := parseAlgorithm(string(name))
	if !ok || len(raw)%a.size() != 0 {
		return "", nil
	}
	for sum := range slices.Chunk(raw, a.size()) {
		sums = append(sums, base64.StdEncoding.EncodeToString(sum))
	}
	return a, sums
}

// partsAttribute returns the attribute of the parts' sizes; none if it would be too long.
func partsAttribute(chosen []part) []granary.Xattr {
	var runs []string
	for i := 0; i < len(chosen); {
		n := i + 1
		for n < len(chosen) && chosen[n].attr.Size == chosen[i].attr.Size {
			n++
		}
		runs = append(runs, strconv.Itoa(n-i)+"x"+strconv.FormatUint(chosen[i].attr.Size, 10))
		i = n
	}
	value := strings.Join(runs, ",")
	if len(value) > granary.XattrValueMax {
		return nil
	}
	return []granary.Xattr{{Name: xattrParts, Value: []byte(value)}}
}

// partSizes returns the sizes of the parts of an object; nil if it has none, or they are not known.
func partSizes(info *filer.Info) []int64 {
	v, ok := info.Xattr(xattrParts)
	if !ok {
		return nil
	}
	var sizes []int64
	for run := range strings.SplitSeq(string(v), ",") {
		count, size, _ := strings.Cut(run, "x")
		n, cerr := strconv.Atoi(count)
		bytes, serr := strconv.ParseInt(size, 10, 64)
		if cerr != nil || serr != nil || n > partNumberMax-len(sizes) {
			return nil
		}
		sizes = append(sizes, slices.Repeat([]int64{bytes}, n)...)
	}
	return sizes
}

// partRange returns the range of a part of an object, and how many there are.
func partRange(info *filer.Info, text string, size int64) (byteRange, int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > partNumberMax {
		return byteRange{}, 0, refuseArgument("partNumber", text, "Part number must be an integer between 1 and %d, inclusive.", partNumberMax)
	}
	sizes := partSizes(info)
	switch {
	case sizes == nil && n == 1 && !strings.Contains(info.ETag(), "-"):
		return byteRange{length: size, partial: size > 0}, 0, nil
	case sizes == nil && strings.Contains(info.ETag(), "-"):
		return byteRange{}, 0, refuse(codeNotImplemented, "The parts of this object are not known any more.")
	case n > len(sizes):
		return byteRange{}, 0, refuse(codeInvalidPartRange, "The requested partnumber is not satisfiable.")
	}
	part := byteRange{length: sizes[n-1], partial: true}
	for _, s := range sizes[:n-1] {
		part.offset += s
	}
	return part, len(sizes), nil
}

type objectAttributes struct {
	XMLName      xml.Name `xml:"GetObjectAttributesResponse"`
	Xmlns        string   `xml:"xmlns,attr"`
	ETag         string   `xml:",omitempty"`
	Checksum     *checksumElements
	ObjectParts  *objectParts
	StorageClass string  `xml:",omitempty"`
	ObjectSize   *uint64 `xml:",omitempty"`
}

type objectParts struct {
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Parts                []attributePart `xml:"Part"`
	TotalPartsCount      int             `xml:"PartsCount"`
}

type attributePart struct {
	PartNumber int
	Size       int64
	checksumElements
}

func (q *request) getObjectAttributes() error {
	asked := map[string]bool{}
	for _, value := range q.r.Header.Values("X-Amz-Object-Attributes") {
		for name := range strings.SplitSeq(value, ",") {
			switch name = strings.TrimSpace(name); name {
			case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
				asked[name] = true
			case "":
			default:
				return refuseArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
			}
		}
	}
	if len(asked) == 0 {
		return refuse(codeInvalidRequest, "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	maxParts, after, err := q.partsPage()
	if err != nil {
		return err
	}
	info, err := q.existing()
	if err != nil {
		return err
	}
	if err := q.show(info); err != nil {
		return err
	}
	document := &objectAttributes{Xmlns: xmlNamespace}
	if asked["ETag"] {
		document.ETag = info.ETag()
	}
	if asked["StorageClass"] {
		if document.StorageClass, err = q.classOf(&info.Attr); err != nil {
			return err
		}
	}
	if asked["ObjectSize"] {
		size := uint64(sizeOf(&info.Attr))
		document.ObjectSize = &size
	}
	if sums := checksumsOf(info.Xattrs); asked["Checksum"] && len(sums) > 0 {
		e := elements(sums)
		for a, sum := range sums {
			*e.of(a), _, _ = strings.Cut(sum, "-") // AWS tells the number of parts everywhere but here
		}
		document.Checksum = &e
	}
	if sizes := partSizes(info); asked["ObjectParts"] && sizes != nil {
		document.ObjectParts = attributeParts(sizes, after, maxParts)
		if a, sums := partSums(info); len(sums) == len(sizes) {
			for i := range document.ObjectParts.Parts {
				p := &document.ObjectParts.Parts[i]
				*p.of(a) = sums[p.PartNumber-1]
			}
		}
	}
	q.setVersionID(&info.Attr)
	q.w.Header().Set("Last-Modified", info.Attr.Mtime.Std().UTC().Format(http.TimeFormat))
	return writeXML(q.w, http.StatusOK, document)
}

// partsPage returns which parts of an object a request asks for.
func (q *request) partsPage() (maxParts, after int, err error) {
	number := func(name string, absent, valueMax int) (int, error) {
		text := q.r.Header.Get(name)
		if text == "" {
			return absent, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, refuse(codeInvalidArgument, "Provided %s not an integer or within integer range", strings.ToLower(name))
		}
		return min(n, valueMax), nil
	}
	if maxParts, err = number("X-Amz-Max-Parts", granary.ListMax, granary.ListMax); err == nil {
		after, err = number("X-Amz-Part-Number-Marker", 0, partNumberMax)
	}
	return maxParts, after, err
}

func attributeParts(sizes []int64, after, maxParts int) *objectParts {
	p := &objectParts{PartNumberMarker: after, MaxParts: maxParts, TotalPartsCount: len(sizes)}
	for i := after; i < len(sizes); i++ {
		if len(p.Parts) == maxParts {
			p.IsTruncated = true
			break
		}
		p.Parts = append(p.Parts, attributePart{PartNumber: i + 1, Size: sizes[i]})
		p.NextPartNumberMarker = i + 1
	}
	return p
}
