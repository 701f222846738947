package erasure

import "github.com/klauspost/reedsolomon"

// Both are part of what nodes tell each other.
const (
	// SumPiece is how many bytes of a stream one sum covers.
	SumPiece = 1 << 20
	// SumSize is how many bytes a sum has.
	SumSize = SumPiece / (sumColumns * sumColumns * sumColumns * sumColumns)

	sumColumns = 16
	sumColumn  = SumPiece / sumColumns
	sumLevels  = 4
)

// Summer makes the sums of a stream: of each piece of SumPiece bytes, the last one filled up with zeros, SumSize bytes.
//
// They are linear over the field that the code is made in. So the sums of k+m streams are k+m shards of the same code: where the
// parity is that of the data, Code.Verify holds for the sums too, and where it is not, it does not but with a probability that is that
// of a random match (2^-128; for two flipped bits in a piece, one in 255 at worst). A fault of one byte, or within 64 bytes of one another
// in one row of sumColumns, is always seen. That tells whether servers have shards that fit together for a hundred-thousandth of the traffic that
// comparing them takes. They are no protection against those who mean harm.
//
// A piece is seen as 16 columns of 64 KiB, of which each is multiplied by another element of the field, and which are added up; what that
// gives as 16 columns of 4 KiB, and so on.
type Summer struct {
	encoders [sumLevels]reedsolomon.Encoder
	column   []byte // gathers what comes in less than whole columns
	filled   int    // bytes of it
	columns  int    // of the piece, that are in total
	total    []byte // of the columns so far
	work     []byte
	sums     []byte
}

// NewSummer returns one for a stream that begins.
func NewSummer() *Summer {
	s := &Summer{column: make([]byte, sumColumn), total: make([]byte, sumColumn), work: make([]byte, sumColumn/sumColumns*2)}
	for level, step := range [sumLevels]int{1, 16, 37, 101} {
		row := make([]byte, sumColumns)
		for i := range row {
			row[i] = power(i * step)
		}
		var err error
		if s.encoders[level], err = reedsolomon.New(sumColumns, 1, reedsolomon.WithCustomMatrix([][]byte{row}), reedsolomon.WithMaxGoroutines(1)); err != nil {
			panic(err) // the numbers are constants
		}
	}
	return s
}

// power returns a power of the generator of the field, GF(2^8) modulo x^8+x^4+x^3+x^2+1.
func power(n int) byte {
	x := 1
	for range n % 255 {
		if x <<= 1; x&0x100 != 0 {
			x ^= 0x11d
		}
	}
	return byte(x)
}

// Add goes on with the stream. Whole columns of it, as pages are, are not copied.
func (s *Summer) Add(p []byte) {
	for len(p) > 0 {
		if s.filled == 0 && len(p) >= sumColumn {
			s.add(p[:sumColumn])
			p = p[sumColumn:]
			continue
		}
		n := copy(s.column[s.filled:], p)
		p = p[n:]
		if s.filled += n; s.filled == sumColumn {
			s.add(s.column)
			s.filled = 0
		}
	}
}

// Sums ends the stream, and returns the sums of all its pieces.
func (s *Summer) Sums() []byte {
	if s.filled > 0 {
		clear(s.column[s.filled:])
		s.add(s.column)
		s.filled = 0
	}
	if s.columns > 0 { // those that are missing are zeros, which add nothing
		s.fold()
	}
	return s.sums
}

// add adds a column, and makes the sum of the piece if it was the last one.
func (s *Summer) add(column []byte) {
	if err := s.encoders[0].EncodeIdx(column, s.columns, [][]byte{s.total}); err != nil {
		panic(err) // the columns are equally long
	}
	if s.columns++; s.columns == sumColumns {
		s.fold()
	}
}

// fold makes the sum of the piece whose columns are added up.
func (s *Summer) fold() {
	from, free := s.total, s.work
	for _, encoder := range s.encoders[1:] {
		size := len(from) / sumColumns
		shards := make([][]byte, 0, sumColumns+1)
		for i := range sumColumns {
			shards = append(shards, from[i*size:(i+1)*size])
		}
		to := free[:size:size]
		free = free[size:]
		if err := encoder.Encode(append(shards, to)); err != nil {
			panic(err) // the columns are equally long
		}
		from = to
	}
	s.sums = append(s.sums, from...)
	s.columns = 0
	clear(s.total)
}

// SumsLength returns how long the sums of a stream are.
func SumsLength(length uint64) uint64 { return (length + SumPiece - 1) / SumPiece * SumSize }
