"""The magics, one module each: parse a line or a cell, call the public function, show what came back."""
